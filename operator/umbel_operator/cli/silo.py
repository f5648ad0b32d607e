"""``umbel silo``: who takes part in the federation."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import yaml

from umbel.cli.errors import CliError
from umbel_operator import joining, names, silo_access
from umbel_operator.cli import invitations, removal
from umbel_operator.cli.options import CONTEXT, KUBECONFIG, with_hub
from umbel_operator.conditions import find, seconds
from umbel_operator.kube import SILO, Kube, Object
from umbel_operator.table import show

MANAGER = "umbel-silo-add"
NAMESPACE = click.option(
    "--namespace", default="umbel-system", show_default=True, help="The hub operator's own namespace."
)


@click.group("silo", short_help="Invite, list, suspend and remove silos.")
def silo() -> None:
    """Who takes part in the federation."""


@silo.command("invite")
@click.argument("name")
@click.option("--hub-url", default="", help="URL by which the silo reaches the join service, where it is another.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the bundle there; else it is printed.")
@NAMESPACE
@KUBECONFIG
@CONTEXT
def invite(
    name: str, hub_url: str, output: Path | None, namespace: str, kubeconfig: Path | None, context: str | None
) -> None:
    """Print the bundle with which silo NAME joins.

    Makes the Silo, its namespace and an account that reaches no further, unless they are there. The bundle is a secret:
    it holds a token that lets one agent join, once, within 24 hours. To invite a silo again shuts out the agent that
    has joined for it.
    """
    if hub_url and not hub_url.startswith("https://"):
        raise CliError(f"--hub-url {hub_url}: write https://host:port")
    _checked(name)
    bundle = with_hub(kubeconfig, context, lambda kube: invitations.invite(kube, name, namespace, hub_url, time.time()))
    if output is None:
        click.echo(bundle.text(), nl=False)
        return
    try:
        invitations.write(output, bundle.text())
    except OSError as error:
        raise CliError(f"-o {output}: {error.strerror}; the invitation stands: invite again") from None
    click.echo(f"{output}: silo {name} may join with it, once, until {bundle.expires}")


@silo.command("list")
@KUBECONFIG
@CONTEXT
def list_command(kubeconfig: Path | None, context: str | None) -> None:
    """Every silo: its state, since when, what runs its clients, its data sets and labels."""
    silos = with_hub(kubeconfig, context, lambda kube: kube.list(SILO))
    show([["NAME", "STATE", "SINCE", "BACKEND", "VERSION", "DATASETS", "LABELS"], *map(_row, silos)])


@silo.command("suspend")
@click.argument("name")
@KUBECONFIG
@CONTEXT
def suspend(name: str, kubeconfig: Path | None, context: str | None) -> None:
    """Take silo NAME out of every job, until it is resumed."""
    with_hub(kubeconfig, context, _suspending(name, True))


@silo.command("resume")
@click.argument("name")
@KUBECONFIG
@CONTEXT
def resume(name: str, kubeconfig: Path | None, context: str | None) -> None:
    """Let silo NAME take part again."""
    with_hub(kubeconfig, context, _suspending(name, False))


@silo.command("remove")
@click.argument("name")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait until nothing is left at the hub.")
@KUBECONFIG
@CONTEXT
def remove(name: str, timeout: float, kubeconfig: Path | None, context: str | None) -> None:
    """Remove silo NAME: its access at once, then all that the hub has of it.

    Jobs that name it go on without it. Its agent is told, removes its clients and stops.
    """
    left = with_hub(kubeconfig, context, lambda kube: removal.remove(kube, name, timeout))
    if left:
        raise CliError(f"{name}: {left} is still there after {timeout:.0f} s; its access is gone. Try again later")


@silo.command("add")
@click.argument("name")
@click.option("--hub", "url", help="URL by which the silo reaches the hub's API, where it is not the kubeconfig's.")
@KUBECONFIG
@CONTEXT
def add(name: str, url: str | None, kubeconfig: Path | None, context: str | None) -> None:
    """Print a kubeconfig for the agent of silo NAME, at a hub whose join service silos cannot reach.

    Makes the Silo, its namespace and an account that reaches no further, unless they are there. The token lives for
    24 hours, and the agent renews it; a silo that was away for longer is added again.
    """
    _checked(name)
    click.echo(with_hub(kubeconfig, context, lambda kube: _add(kube, name, url)), nl=False)


def _checked(name: str) -> None:
    if (fault := joining.silo_fault(name)) is not None:
        raise CliError(f"NAME: {fault}")


async def _add(kube: Kube, name: str, url: str | None) -> str:
    await silo_access.make(kube, name, manager=MANAGER, renews_itself=True)
    token = await silo_access.request_token(kube, names.silo_namespace(name))
    reach = kube.access
    config = silo_access.kubeconfig(name, url or reach.server, reach.authorities, token)
    return yaml.safe_dump(config, sort_keys=False)


def _suspending(name: str, suspended: bool) -> Callable[[Kube], Awaitable[None]]:
    async def work(kube: Kube) -> None:
        if await kube.patch(SILO, name, None, {"spec": {"suspend": suspended}}) is None:
            raise CliError(f"the hub has no silo {name!r}; `umbel silo list` shows them")

    return work


def _row(item: Object) -> list[Any]:
    status = item.get("status") or {}
    ready = find(status.get("conditions"), "Ready")
    labels = ",".join(f"{key}={value}" for key, value in (item["metadata"].get("labels") or {}).items())
    since = ready.get("lastTransitionTime") or item["metadata"]["creationTimestamp"]
    datasets = ",".join(status.get("datasets") or ())
    return [
        item["metadata"]["name"],
        state(ready),
        f"{_age(time.time() - seconds(since))}",
        status.get("backend") or "-",
        status.get("agentVersion") or "-",
        datasets or "-",
        labels or "-",
    ]


def state(ready: Any) -> str:
    """In one word, from a Silo's Ready condition."""
    if ready.get("status") == "True":
        return "Ready"
    reason = str(ready.get("reason") or "")
    return reason if reason in ("Invited", "InvitationExpired", "Suspended") else "Unknown"


def _age(passed: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if passed >= size:
            return f"{int(passed // size)}{unit}"
    return f"{int(max(0.0, passed))}s"
