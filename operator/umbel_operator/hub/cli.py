"""``umbel hub``: the hub's side of the federation."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from umbel.cli.errors import CliError
from umbel_operator.hub import tracing_options

if TYPE_CHECKING:
    from umbel_operator.hub.settings import Joining, Settings
    from umbel_operator.kube import Kube

Result = TypeVar("Result")


@click.group("hub", short_help="Run and look after the hub.")
def hub() -> None:
    """The hub's side of the federation."""


@hub.command("run")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The hub's API; without it, the pod's account.")
@click.option("--namespace", default="umbel-system", show_default=True, help="The operator's own namespace.")
@click.option("--trust-domain", default="umbel.local", show_default=True, help="Of every certificate's SPIFFE id.")
@click.option("--http", default="0.0.0.0:8080", show_default=True, help="Address of /healthz and /metrics.")
@click.option("--join", default="", metavar="HOST:PORT", help="Let invited silos join there, over HTTPS.")
@click.option("--join-url", default="", help="URL by which silos reach it. Default: https://HOST:PORT, if HOST is one.")
@click.option("--api-url", default="", help="URL by which silos reach the hub's API. Default: as the operator does.")
@tracing_options.options
def run_command(
    kubeconfig: Path | None,
    namespace: str,
    trust_domain: str,
    http: str,
    join: str,
    join_url: str,
    api_url: str,
    **traces: Any,
) -> None:
    """Reconcile FederatedJobs until stopped: one operator per hub."""
    from umbel_operator.access import AccessError
    from umbel_operator.hub.settings import Settings
    from umbel_operator.kube import Kube

    settings = Settings(namespace=namespace, trust_domain=trust_domain, tracing=tracing_options.read(**traces))
    try:
        kube = Kube.from_kubeconfig(kubeconfig) if kubeconfig else Kube.in_cluster()
    except AccessError as error:
        raise CliError(str(error)) from None
    host, port = _address("--http", http)
    joining = _joining(join, join_url, api_url)
    from umbel_operator import logs

    logs.set_up()
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        asyncio.run(_run(kube, settings, joining, host, port))
    except OSError as error:
        raise CliError(f"--http {http}, --join {join}: {error.strerror}; choose other addresses") from None


def _joining(join: str, url: str, api_url: str) -> Joining | None:
    from umbel_operator.hub.settings import Joining

    if not join:
        if url or api_url:
            raise CliError(f"{'--join-url' if url else '--api-url'}: means nothing without --join")
        return None
    for option, given in (("--join-url", url), ("--api-url", api_url)):
        if given and not given.startswith("https://"):
            raise CliError(f"{option} {given}: write https://host:port")
    host, port = _address("--join", join)
    if not url and host in ("", "0.0.0.0", "[::]", "::"):
        raise CliError(f"--join-url: name the URL by which silos reach {join}; it is in every invitation")
    return Joining(host.strip("[]"), port, url.rstrip("/") or f"https://{join}", api_url.rstrip("/"))


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise CliError(f"{option} {text}: write host:port")
    return host, int(port)


@hub.command("uninstall")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The hub's API; without it, the pod's account.")
@click.option("--namespace", default="umbel-system", show_default=True, help="The operator's own namespace.")
@click.option("--deployment", default="umbel-operator", show_default=True, help="The operator's Deployment.")
@click.option("--keep", is_flag=True, help="Keep jobs and silos for a hub that is installed later; stop the servers.")
@click.option("--timeout", default=240.0, show_default=True, help="Seconds to wait for what has to end.")
def uninstall_command(kubeconfig: Path | None, namespace: str, deployment: str, keep: bool, timeout: float) -> None:
    """Make ready for the operator's removal: nothing is left that waits for it.

    Deletes jobs, silos and the certificate authority, or with --keep stops the servers of jobs; stops the operator;
    takes its finalizers off. The chart runs it before it is uninstalled.
    """
    from umbel_operator.hub.settings import Settings
    from umbel_operator.hub.uninstall import Uninstall

    async def work(kube: Kube) -> None:
        steps = Uninstall(kube, namespace, deployment, Settings().operator_labels, timeout, click.echo)
        await (steps.keeping() if keep else steps.removing())

    _spoken(kubeconfig, work)


@hub.command("check")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The hub's API; without it, the pod's account.")
@click.option("--namespace", default="umbel-system", show_default=True, help="The operator's own namespace.")
def check_command(kubeconfig: Path | None, namespace: str) -> int:
    """Say whether the hub is whole: its API's kinds, what they accept and refuse, the operator's heartbeat."""
    from umbel_operator.hub.check import check

    async def work(kube: Kube) -> bool:
        good = True
        async for looked, fault in check(kube, namespace):
            click.echo(f"{looked}: {fault or 'good'}")
            good = good and not fault
        return good

    return 0 if _spoken(kubeconfig, work) else 1


def _spoken(kubeconfig: Path | None, work: Callable[[Kube], Awaitable[Result]]) -> Result:
    """Raises CliError for what the API server or the kubeconfig says."""
    from umbel_operator.access import AccessError
    from umbel_operator.kube import ApiError, Kube

    async def run() -> Result:
        kube = Kube.from_kubeconfig(kubeconfig) if kubeconfig else Kube.in_cluster()
        try:
            return await work(kube)
        finally:
            await kube.close()

    try:
        return asyncio.run(run())
    except (AccessError, TimeoutError) as error:
        raise CliError(str(error)) from None
    except ApiError as error:
        raise CliError(f"the hub's API server: {error}") from None


async def _run(kube: Kube, settings: Settings, joining: Joining | None, host: str, port: int) -> None:
    from umbel_operator.hub.main import serve

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(kube, settings, joining, host, port, version("umbel-operator"), stop)
