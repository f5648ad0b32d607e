"""``umbel silo``: who takes part in the federation."""

from __future__ import annotations

import re
from pathlib import Path

import click
import yaml

from umbel.cli.errors import CliError
from umbel_operator import names, silo_access
from umbel_operator.cli.options import CONTEXT, KUBECONFIG, with_hub
from umbel_operator.kube import SERVICE_ACCOUNT, Kube

MANAGER = "umbel-silo-add"
TOKEN_SECONDS = 86_400
MAX_NAME = 50  # as in the CustomResourceDefinition


@click.group("silo", short_help="Add silos to the hub.")
def silo() -> None:
    """Who takes part in the federation."""


@silo.command("add")
@click.argument("name")
@click.option("--hub", "url", help="URL by which the silo reaches the hub's API, where it is not the kubeconfig's.")
@KUBECONFIG
@CONTEXT
def add(name: str, url: str | None, kubeconfig: Path | None, context: str | None) -> None:
    """Print a kubeconfig for the agent of silo NAME.

    Makes the Silo, its namespace and an account that reaches no further, unless they are there. The token lives for
    24 hours, and the agent renews it; a silo that was away for longer is added again.
    """
    if len(name) > MAX_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise CliError(
            f"NAME: {name!r} is not a silo's name; use at most {MAX_NAME} lower-case letters, digits and '-'"
        )
    click.echo(with_hub(kubeconfig, context, lambda kube: _add(kube, name, url)), nl=False)


async def _add(kube: Kube, name: str, url: str | None) -> str:
    made = await kube.apply(silo_access.silo(name), manager=MANAGER)
    await kube.apply(silo_access.namespace(name, made["metadata"]["uid"]), manager=MANAGER)
    for obj in silo_access.agent_access(name):
        await kube.apply(obj, manager=MANAGER)
    path = SERVICE_ACCOUNT.path(names.silo_namespace(name), names.AGENT) + "/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS},
    }
    token = (await kube.request("POST", path, body=request))["status"]["token"]
    reach = kube.access
    config = silo_access.kubeconfig(name, url or reach.server, reach.authorities, token)
    return yaml.safe_dump(config, sort_keys=False)
