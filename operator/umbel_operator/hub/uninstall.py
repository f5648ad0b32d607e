"""Before a hub is removed: nothing may be left behind that waits for an operator.

Every step may be repeated, and an operator that is dead already holds up none of them for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from umbel_operator import names
from umbel_operator.health import HEARTBEAT
from umbel_operator.hub.join import published
from umbel_operator.hub.rotation import CA_SECRET
from umbel_operator.kube import (
    CONFIG_MAP,
    DEPLOYMENT,
    FEDERATED_JOB,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SILO,
    STATEFUL_SET,
    ApiError,
    Kind,
    Kube,
    Object,
    Objects,
)
from umbel_operator.scaling import scale_down

LOOK_SECONDS = 1.0
STOP_SECONDS = 45.0  # for the operator's pod alone, whose grace is 30; the hook lives 60 s longer than its time
SERVERS = f"{names.MANAGED_BY}=umbel,{names.JOB_UID}"  # the StatefulSets of all jobs


class Uninstall:
    """``namespace``, ``deployment``: of the operator. ``seconds``: for everything that is waited for together,
    but that the operator's pod has its own time to stop. ``say``: told each step."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        deployment: str,
        operator_labels: Mapping[str, str],
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._deployment = deployment
        self._operator = ",".join(f"{key}={value}" for key, value in operator_labels.items())
        self._end = time.monotonic() + seconds
        self._say = say

    async def keeping(self) -> None:
        """Jobs and silos stay. The operator stops first, as it would start a server again."""
        await self._stop_operator()
        await self._stop_servers()
        await self._strip()
        await self._forget()

    async def removing(self) -> None:
        """Jobs go while the operator can still see to it, then silos with their namespaces, and the authority."""
        jobs = await self._jobs()
        for job in jobs:
            meta = job["metadata"]
            await self._kube.delete(FEDERATED_JOB, meta["name"], meta["namespace"], uid=meta["uid"])
        self._say(f"{len(jobs)} jobs deleted")
        if await self._operator_ready():
            await self._until(self._jobs, "jobs")
        await self._stop_operator()
        await self._strip()
        await self._remove_silos()
        await self._delete(SECRET, CA_SECRET)
        await self._forget()

    async def _jobs(self) -> Objects:
        return await self._all(FEDERATED_JOB)

    async def _all(self, kind: Kind) -> Objects:
        """Nothing, where the kind itself is not there."""
        try:
            return await self._kube.list(kind)
        except ApiError as error:
            if error.status == 404:
                return []
            raise

    async def _operator_ready(self) -> bool:
        found = await self._kube.get(DEPLOYMENT, self._deployment, self._namespace)
        return bool(found and (found.get("status") or {}).get("readyReplicas"))

    async def _stop_operator(self) -> None:
        await scale_down(self._kube, self._deployment, self._namespace)
        end = max(self._end, time.monotonic() + STOP_SECONDS)
        while await self._kube.list(POD, self._namespace, selector=self._operator):
            if time.monotonic() > end:
                raise TimeoutError("the operator's pod is still there; what comes next would be undone by it")
            await asyncio.sleep(LOOK_SECONDS)
        self._say("the operator has stopped")

    async def _stop_servers(self) -> None:
        # Without its stamp the next operator does not take it for what it applied, and starts it again.
        stopped = {"metadata": {"annotations": {names.DIGEST: None}}, "spec": {"replicas": 0}}
        found = await self._kube.list(STATEFUL_SET, selector=SERVERS)
        for server in found:
            meta = server["metadata"]
            await self._kube.patch(STATEFUL_SET, meta["name"], meta["namespace"], stopped)
        await self._until(self._running_servers, "servers")
        self._say(f"{len(found)} servers stopped; their jobs go on when a hub is installed again")

    async def _running_servers(self) -> Objects:
        found = await self._kube.list(STATEFUL_SET, selector=SERVERS)
        return [server for server in found if (server.get("status") or {}).get("replicas")]

    async def _strip(self) -> None:
        while waiting := [job["metadata"] for job in await self._jobs() if _waits(job)]:
            for meta in waiting:
                await self._take_off(meta)
        self._say("no job waits for the operator any more")

    async def _take_off(self, meta: Mapping[str, Any]) -> None:
        """Unless the job has changed since: a finalizer that somebody adds meanwhile is not lost."""
        left = [other for other in meta["finalizers"] if other != names.FINALIZER]
        body = {"metadata": {"finalizers": left, "resourceVersion": meta["resourceVersion"]}}
        try:
            await self._kube.patch(FEDERATED_JOB, meta["name"], meta["namespace"], body)
        except ApiError as error:
            if error.status != 409:
                raise

    async def _remove_silos(self) -> None:
        silos = await self._all(SILO)
        for silo in silos:
            await self._kube.delete(SILO, silo["metadata"]["name"], uid=silo["metadata"]["uid"])
        await self._until(self._silo_namespaces, "the silos' namespaces")
        self._say(f"{len(silos)} silos deleted")

    async def _silo_namespaces(self) -> Objects:
        return await self._kube.list(NAMESPACE, selector=f"{names.MANAGED_BY}=umbel,{names.SILO}")

    async def _forget(self) -> None:
        """What the operator itself made, and makes anew."""
        await self._delete(LEASE, HEARTBEAT)
        await self._delete(CONFIG_MAP, published.NAME)

    async def _delete(self, kind: Kind, name: str) -> None:
        await self._kube.delete(kind, name, self._namespace)

    async def _until(self, left: Callable[[], Awaitable[Objects]], what: str) -> None:
        """Until there are none left, or time is up: then it goes on without."""
        while found := await left():
            if time.monotonic() > self._end:
                self._say(f"gave up waiting for {len(found)} {what}")
                return
            await asyncio.sleep(LOOK_SECONDS)


def _waits(job: Object) -> bool:
    return names.FINALIZER in (job["metadata"].get("finalizers") or ())
