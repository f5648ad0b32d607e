"""Before an agent is removed for good: what it made in the silo's cluster goes, but for the state that is retained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from umbel_operator import kube
from umbel_operator.agent import reconcile
from umbel_operator.agent.approvals.store import approvals
from umbel_operator.agent.backends.kubernetes.backend import KubernetesBackend
from umbel_operator.agent.federatedclient import CLIENT, SILO
from umbel_operator.agent.site import Site
from umbel_operator.scaling import scale_down

LOOK_SECONDS = 1.0


async def stop_agent(silo: kube.Kube, namespace: str, deployment: str, pods: str, end: float) -> None:
    """First of all: a living agent would make its clients anew. Raises TimeoutError."""
    await scale_down(silo, deployment, namespace)
    while await silo.list(kube.POD, namespace, selector=pods):
        if time.monotonic() > end:
            raise TimeoutError(f"the agent's pod ({pods}) is still there; it would start its clients again")
        await asyncio.sleep(LOOK_SECONDS)


async def forget(silo: kube.Kube, namespace: str, site: Site, hub_secret: str) -> None:
    """What was asked of the administrator and answered, and the renewed access to the hub."""
    for found in await silo.list(kube.CONFIG_MAP, namespace, selector=approvals(site.silo)):
        await silo.delete(kube.CONFIG_MAP, found["metadata"]["name"], namespace)
    if hub_secret:
        await silo.delete(kube.SECRET, hub_secret, namespace)


async def remove_clients(silo: kube.Kube, namespace: str, site: Site, end: float, say: Callable[[str], None]) -> None:
    """Until nothing is left of them but state that the site file retains, or time is up. Raises Trouble."""
    backend = KubernetesBackend(silo, namespace, site.silo)
    first = await backend.known()
    while left := await _left(silo, namespace, site, backend):
        for name in left:  # again and again: a client's NetworkPolicy is the last to go, after its pod
            await backend.execute(reconcile.farewell(await backend.observe(name, None, site)))
        if time.monotonic() > end:
            say(f"gave up waiting for {len(left)} of {len(first)} clients: {', '.join(sorted(left))}")
            return
        await asyncio.sleep(LOOK_SECONDS)
    say(f"{len(first)} clients removed")


async def _left(silo: kube.Kube, namespace: str, site: Site, backend: KubernetesBackend) -> set[str]:
    """Names of clients, also of those that have nothing but a pod that is ending."""
    pods = await silo.list(kube.POD, namespace, selector=f"{SILO}={site.silo},{CLIENT}")
    return await backend.known() | {pod["metadata"]["labels"][CLIENT] for pod in pods}
