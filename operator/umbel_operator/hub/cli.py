"""``umbel hub``: the hub's side of the federation."""

from __future__ import annotations

import asyncio
import logging
import signal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from umbel.cli.errors import CliError

if TYPE_CHECKING:
    from umbel_operator.hub.settings import Settings
    from umbel_operator.kube import Kube


@click.group("hub", short_help="Run the hub's operator.")
def hub() -> None:
    """The hub's side of the federation."""


@hub.command("run")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The hub's API; without it, the pod's account.")
@click.option("--namespace", default="umbel-system", show_default=True, help="The operator's own namespace.")
@click.option("--trust-domain", default="umbel.local", show_default=True, help="Of every certificate's SPIFFE id.")
@click.option("--http", default="0.0.0.0:8080", show_default=True, help="Address of /healthz and /metrics.")
def run_command(kubeconfig: Path | None, namespace: str, trust_domain: str, http: str) -> None:
    """Reconcile FederatedJobs until stopped: one operator per hub."""
    from umbel_operator.access import AccessError
    from umbel_operator.hub.settings import Settings
    from umbel_operator.kube import Kube

    try:
        kube = Kube.from_kubeconfig(kubeconfig) if kubeconfig else Kube.in_cluster()
    except AccessError as error:
        raise CliError(str(error)) from None
    host, _, port = http.rpartition(":")
    if not port.isdecimal():
        raise CliError(f"--http {http}: write host:port")
    from umbel_operator import logs

    logs.set_up()
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(_run(kube, Settings(namespace=namespace, trust_domain=trust_domain), host, int(port)))


async def _run(kube: Kube, settings: Settings, host: str, port: int) -> None:
    from umbel_operator.hub.main import serve

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(kube, settings, host, port, version("umbel-operator"), stop)
