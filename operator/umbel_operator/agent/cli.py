"""``umbel agent``: what a silo runs to take part in the jobs of a hub."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from importlib.metadata import version
from pathlib import Path

import click
from aiohttp import web

from umbel.cli.errors import CliError
from umbel_operator import access, health, kube, logs
from umbel_operator.agent import credentials, site, upkeep
from umbel_operator.agent.agent import Agent, Identity, TokenStore
from umbel_operator.agent.backends.kubernetes import KubernetesBackend
from umbel_operator.agent.metrics import Metrics
from umbel_operator.agent.worker import Context

START_SECONDS = 10.0


@click.group("agent")
def agent() -> None:
    """Run the clients of a hub's jobs in this silo."""


agent.add_command(upkeep.check_command)
agent.add_command(upkeep.uninstall_command)


@agent.command("run")
@click.option("--site", "site_file", required=True, type=click.Path(path_type=Path), help="The silo's site file.")
@click.option(
    "--hub",
    required=True,
    type=click.Path(path_type=Path),
    help="Kubeconfig for the hub, as `umbel silo add` prints it.",
)
@click.option(
    "--hub-secret",
    default="",
    metavar="NAME",
    help="Secret that keeps the renewed kubeconfig, where --hub is read-only.",
)
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="For the silo's own cluster. Default: the pod's account."
)
@click.option(
    "--namespace", default="", metavar="NAME", help="Where the clients run. Default: the kubeconfig's, or the pod's."
)
@click.option("--http", default="", metavar="HOST:PORT", help="Serve /healthz and /metrics there.")
def run(site_file: Path, hub: Path, hub_secret: str, kubeconfig: Path | None, namespace: str, http: str) -> int:
    """Take the silo's FederatedClients from the hub and run them here, until stopped.

    The clients go on when the agent stops, and the next agent finds them.
    """
    found = site.load(site_file)
    address = _address(http)
    logs.set_up()
    try:
        return asyncio.run(_run(found, hub, hub_secret, kubeconfig, namespace, address))
    except access.AccessError as error:
        raise CliError(str(error)) from error


async def _run(
    found: site.Site,
    hub: Path,
    hub_secret: str,
    kubeconfig: Path | None,
    namespace: str,
    address: tuple[str, int] | None,
) -> int:
    async with contextlib.AsyncExitStack() as stack:
        silo = kube.Kube.from_kubeconfig(kubeconfig) if kubeconfig else kube.Kube.in_cluster()
        stack.push_async_callback(silo.close)
        here = namespace or silo.access.namespace
        held = credentials.HubCredentials(hub)
        stack.callback(held.close)
        if hub_secret:
            await _fetch(silo, here, hub_secret, held)
        api = held.client()
        stack.push_async_callback(api.close)
        identity = Identity(held.read().namespace, f"{socket.gethostname()}-{os.getpid()}", version("umbel-operator"))
        metrics = Metrics(identity.version)
        context = Context(api, KubernetesBackend(silo, here, found.silo), found, metrics)
        whole = Agent(context, identity, TokenStore(held, silo, here, hub_secret))
        if address is not None:
            stack.push_async_callback((await _listen(whole, metrics, address)).cleanup)
        await _until_stopped(whole)
    return 0


async def _until_stopped(whole: Agent) -> None:
    working = asyncio.ensure_future(whole.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _fetch(silo: kube.Kube, namespace: str, secret: str, held: credentials.HubCredentials) -> None:
    """A Secret that cannot be read now is waited for a little: the file of --hub may be long out of date."""
    for _ in range(int(START_SECONDS)):
        try:
            await credentials.fetch(silo, namespace, secret, held)
            return
        except kube.ApiError as error:
            logs.warning("the Secret with the kubeconfig was not read", name=secret, error=str(error))
        await asyncio.sleep(1)


async def _listen(whole: Agent, metrics: Metrics, address: tuple[str, int]) -> web.AppRunner:
    def numbers() -> bytes:
        whole.count()
        return metrics.text()

    try:
        return await health.serve(*address, whole.healthy, numbers)
    except OSError as error:
        raise CliError(f"--http {address[0]}:{address[1]}: {error.strerror}; choose another address") from error


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CliError(f"--http {text}: is not of the form HOST:PORT; write it like 0.0.0.0:9090")
    return host.strip("[]") or "0.0.0.0", int(port)
