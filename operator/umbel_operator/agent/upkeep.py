"""``umbel agent check`` and ``umbel agent uninstall``: what is asked of a silo before and after its agent runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import click

from umbel.cli.errors import CliError
from umbel_operator import kube
from umbel_operator.access import AccessError
from umbel_operator.agent import check, credentials, uninstall
from umbel_operator.agent.backends.base import Trouble
from umbel_operator.agent.leeway import leeway
from umbel_operator.agent.site import BackendName, Site, load

BACKENDS = get_args(BackendName)
SITE = click.option("--site", "site_file", required=True, type=click.Path(path_type=Path), help="The silo's site file.")
KUBECONFIG = click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="For the silo's own cluster. Default: the pod's account."
)
NAMESPACE = click.option("--namespace", default="", help="The agent's. Default: the kubeconfig's, or the pod's.")


@click.command("check")
@SITE
@click.option("--backend", type=click.Choice(BACKENDS), help="What the site file is for; else only its form counts.")
@click.option("--hub", type=click.Path(path_type=Path), help="Kubeconfig for the hub: see whether it is reached.")
@click.option(
    "--hub-secret", default="", metavar="NAME", help="Secret with the agent's access; without --hub, as it joined."
)
@click.option("--volumes", is_flag=True, help="See whether the data sets' volumes are there.")
@KUBECONFIG
@NAMESPACE
def check_command(
    site_file: Path,
    backend: BackendName | None,
    hub: Path | None,
    hub_secret: str,
    volumes: bool,
    kubeconfig: Path | None,
    namespace: str,
) -> int:
    """Say what is wrong with a site file, or with the silo that it describes."""
    site = load(site_file, backend)
    counts = f"{len(site.datasets)} data sets, {len(site.policy.images)} patterns of images"
    click.echo(f"{site_file}: silo {site.silo}, {counts}")
    _show_leeway(site)
    if hub is None and not hub_secret and not volumes:
        return 0
    faults = 0

    def show(look: check.Look) -> None:
        nonlocal faults
        faults += bool(look[1])
        click.echo(f"{look[0]}: {look[1] or 'good'}")

    async def work(silo: kube.Kube | None) -> None:
        show(check.policy(site))
        if hub is not None or hub_secret:
            held = credentials.HubCredentials(hub)
            try:
                if silo is not None and hub is None:
                    joined = await check.joined(silo, namespace or silo.access.namespace, hub_secret, held)
                    show(joined)
                    if joined[1]:
                        return
                elif silo is not None and hub_secret:
                    await credentials.fetch(silo, namespace or silo.access.namespace, hub_secret, held)
                show(await check.hub(held))
            finally:
                held.close()
        if silo is not None and volumes:
            async for look in check.volumes(silo, namespace or silo.access.namespace, site):
                show(look)

    _spoken(kubeconfig, work, needed=volumes or bool(hub_secret))
    return 1 if faults else 0


def _show_leeway(site: Site) -> None:
    found = leeway(site)
    click.echo("it leaves to the hub:" if found else "it leaves nothing to the hub")
    for one in found:
        click.echo(f"  {one}")


@click.command("uninstall")
@SITE
@click.option("--deployment", required=True, metavar="NAME", help="The agent's own, which is stopped first.")
@click.option("--pods", required=True, metavar="SELECTOR", help="Labels of the agent's pod, which is waited for.")
@click.option("--hub-secret", default="", metavar="NAME", help="Secret with the renewed kubeconfig, which goes too.")
@click.option("--timeout", default=240.0, show_default=True, help="Seconds to wait for pods to be gone.")
@KUBECONFIG
@NAMESPACE
def uninstall_command(
    site_file: Path,
    deployment: str,
    pods: str,
    hub_secret: str,
    timeout: float,
    kubeconfig: Path | None,
    namespace: str,
) -> None:
    """Stop the agent and remove its clients. State volumes stay, where the site file retains them.

    The chart runs it before it is uninstalled.
    """
    site, end = load(site_file), time.monotonic() + timeout

    async def work(silo: kube.Kube | None) -> None:
        assert silo is not None
        here = namespace or silo.access.namespace
        await uninstall.stop_agent(silo, here, deployment, pods, end)
        click.echo("the agent has stopped")
        await uninstall.remove_clients(silo, here, site, end, click.echo)
        await uninstall.forget(silo, here, site, hub_secret)

    _spoken(kubeconfig, work, needed=True)


def _spoken(kubeconfig: Path | None, work: Callable[[kube.Kube | None], Awaitable[None]], *, needed: bool) -> None:
    """``needed``: whether the silo's own cluster is spoken to at all. Raises CliError for what it says."""

    async def run() -> None:
        if not needed:
            await work(None)
            return
        silo = kube.Kube.from_kubeconfig(kubeconfig) if kubeconfig else kube.Kube.in_cluster()
        try:
            await work(silo)
        finally:
            await silo.close()

    try:
        asyncio.run(run())
    except (AccessError, TimeoutError, Trouble) as error:
        raise CliError(str(error)) from None
    except kube.ApiError as error:
        raise CliError(f"the silo's API server: {error}") from None
