"""``umbel agent``: what a silo runs to take part in the jobs of a hub."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import click
from aiohttp import web

from umbel.cli.errors import CliError
from umbel_operator import access, health, logs
from umbel_operator.agent import approvals_cli, join_cli, site, upkeep
from umbel_operator.agent.agent import Agent, Identity
from umbel_operator.agent.approvals.desk import Desk
from umbel_operator.agent.audit import Audit
from umbel_operator.agent.backends import choice
from umbel_operator.agent.metrics import Metrics
from umbel_operator.agent.worker import Context

BACKENDS = get_args(site.BackendName)


@click.group("agent")
def agent() -> None:
    """Run the clients of a hub's jobs in this silo."""


for command in (
    *(approvals_cli.pending, approvals_cli.approve, approvals_cli.deny),
    *(join_cli.join_command, upkeep.check_command, upkeep.uninstall_command),
):
    agent.add_command(command)


@agent.command("run")
@click.option("--site", "site_file", required=True, type=click.Path(path_type=Path), help="The silo's site file.")
@click.option(
    "--hub", type=click.Path(path_type=Path), help="Kubeconfig for the hub, as `umbel silo add` prints it; or else:"
)
@click.option(
    "--join", type=click.Path(path_type=Path), help="Bundle of `umbel silo invite`: join by it, unless joined."
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), default="kubernetes", show_default=True, help="What runs the clients."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Of clients that are no pods, and of a silo that joined. Default: ~/.local/state/umbel/SILO.",
)
@click.option(
    "--hub-secret",
    default="",
    metavar="NAME",
    help="Secret that keeps the access to the hub, where no file can.",
)
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="For the silo's own cluster. Default: the pod's account."
)
@click.option(
    "--namespace", default="", metavar="NAME", help="Where the clients run. Default: the kubeconfig's, or the pod's."
)
@click.option(
    "--audit-log",
    type=click.Path(path_type=Path),
    help="File of JSON lines: what was decided, and why. Default: standard error.",
)
@click.option("--http", default="", metavar="HOST:PORT", help="Serve /healthz and /metrics there.")
def run(
    site_file: Path,
    hub: Path | None,
    join: Path | None,
    backend: site.BackendName,
    state_dir: Path | None,
    hub_secret: str,
    kubeconfig: Path | None,
    namespace: str,
    audit_log: Path | None,
    http: str,
) -> int:
    """Take the silo's FederatedClients from the hub and run them here, until stopped.

    The clients go on when the agent stops, and the next agent finds them.
    """
    found = site.load(site_file, backend)
    given = {"--hub-secret": hub_secret, "--kubeconfig": kubeconfig, "--namespace": namespace, "--state-dir": state_dir}
    choice.check_options(backend, given)
    if hub is not None and join is not None:
        raise CliError("--hub and --join: a silo was added or invited; name one of them")
    address = _address(http)
    logs.set_up()
    audit = _audit(audit_log)
    place = choice.opened(backend, found, kubeconfig=kubeconfig, namespace=namespace, state_dir=state_dir)
    try:
        return asyncio.run(_run(found, (hub, join, hub_secret, state_dir), place, audit, address))
    except access.AccessError as error:
        raise CliError(str(error)) from error


async def _run(
    found: site.Site,
    where: tuple[Path | None, Path | None, str, Path | None],
    opening: contextlib.AbstractAsyncContextManager[choice.Place],
    audit: Audit,
    address: tuple[str, int] | None,
) -> int:
    metrics = Metrics(version("umbel-operator"))
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(opening)
        shown = Shown(metrics)
        if address is not None:
            stack.push_async_callback((await _listen(shown, address)).cleanup)
        await _until_stopped(_take_part(found, where, place, audit, shown))
    return 0


class Shown:
    """What /healthz and /metrics tell. Who waits to be let in, or was removed, is well."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.agent: Agent | None = None

    def healthy(self) -> bool:
        return self.agent is None or self.agent.healthy()

    def text(self) -> bytes:
        if self.agent is not None:
            self.agent.count()
        return self.metrics.text()


async def _take_part(
    found: site.Site,
    where: tuple[Path | None, Path | None, str, Path | None],
    place: choice.Place,
    audit: Audit,
    shown: Shown,
) -> None:
    """Until the silo is removed from the hub. A pod goes on even then, and waits to join anew: it would only be
    started again."""
    again = True
    while again:
        async with contextlib.AsyncExitStack() as stack:
            held, tokens = await join_cli.access(*where, place, found.silo)
            stack.callback(held.close)
            api = held.client()
            stack.push_async_callback(api.close)
            holder, agents = f"{socket.gethostname()}-{os.getpid()}", version("umbel-operator")
            identity = Identity(held.read().namespace, holder, agents)
            desk = Desk(place.approvals if found.policy.approval == "Manual" else None, audit)
            shown.agent = Agent(Context(api, place.backend, found, desk, shown.metrics), identity, tokens)
            try:
                await shown.agent.run()
            finally:
                shown.agent = None
        again = place.silo is not None


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    working = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _listen(shown: Shown, address: tuple[str, int]) -> web.AppRunner:
    try:
        return await health.serve(*address, shown.healthy, shown.text)
    except OSError as error:
        raise CliError(f"--http {address[0]}:{address[1]}: {error.strerror}; choose another address") from error


def _audit(path: Path | None) -> Audit:
    try:
        return Audit.to(path)
    except OSError as error:
        raise CliError(f"--audit-log {path}: cannot be written ({error.strerror}); name a file of your own") from error


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CliError(f"--http {text}: is not of the form HOST:PORT; write it like 0.0.0.0:9090")
    return host.strip("[]") or "0.0.0.0", int(port)
