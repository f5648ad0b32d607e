"""FederatedClients whose job does not exist any more are deleted: its finalizer was taken off while no operator looked,
or one that was killed had its last write carried out after the next had cleaned up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from umbel_operator import logs, names
from umbel_operator.access import AccessError
from umbel_operator.hub.clients import ClientBook
from umbel_operator.kube import FEDERATED_CLIENT, FEDERATED_JOB, ApiError, Kube

SWEEP_SECONDS = 300.0


async def keep(kube: Kube, clients: ClientBook, living: Callable[[], Collection[str]]) -> None:
    """For ever. ``living``: uids of jobs that certainly exist; of the others the API server is asked."""
    await clients.ready()
    while True:
        try:
            await sweep(kube, clients, living())
        except (ApiError, AccessError) as error:
            logs.warning("FederatedClients without a job were not looked for", error=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(kube: Kube, clients: ClientBook, living: Collection[str]) -> None:
    """A job is there before its clients are: one that is not among the jobs listed after they were seen has gone, and
    no other ever has its uid. Raises ApiError."""
    suspects = clients.jobs().difference(living)
    if not suspects:
        return
    there = {job["metadata"]["uid"] for job in await kube.list(FEDERATED_JOB, metadata_only=True)}
    for uid in sorted(suspects - there):
        for namespace, name in sorted(clients.of(uid)):
            found = await kube.get(FEDERATED_CLIENT, name, namespace)
            if found is None or (found["metadata"].get("labels") or {}).get(names.JOB_UID) != uid:
                continue  # a job of the same name has its own there by now
            logs.info("a FederatedClient is deleted: its job does not exist any more", client=name, silo=namespace)
            await kube.delete(FEDERATED_CLIENT, name, namespace, uid=found["metadata"]["uid"])
