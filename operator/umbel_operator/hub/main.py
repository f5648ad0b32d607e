"""The operator process: its parts put together, run, taken apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import kopf

from umbel_operator import health, logs, names
from umbel_operator.hub import authority, operator, orphans
from umbel_operator.hub.clients import ClientBook
from umbel_operator.hub.join import published
from umbel_operator.hub.join.grants import Grants
from umbel_operator.hub.join.service import JoinService, listen
from umbel_operator.hub.loop import Parts
from umbel_operator.hub.settings import Joining, Settings
from umbel_operator.hub.silos import SiloBook
from umbel_operator.kube import FEDERATED_JOB, ApiError, Kube
from umbel_operator.metrics import Metrics

START_PAUSE_SECONDS = 2.0
STOP_SECONDS = 15.0
OURSELVES: Any = names.HUB_MANAGER  # without it kopf wants the user's name, and a pod's user has none


async def serve(
    kube: Kube, settings: Settings, joining: Joining | None, host: str, port: int, version: str, stop: asyncio.Event
) -> None:
    """Until ``stop``: passes at hand end, then watches close. An API server that is away at the start is waited for."""
    metrics = Metrics(version)
    heartbeat = health.Heartbeat(kube, settings.namespace)

    def text() -> bytes:
        metrics.echoed(time.time() - (time.monotonic() - heartbeat.echoed))
        return metrics.text()

    listening = listen(joining.host, joining.port) if joining is not None else None
    plain = await health.serve(host, port, heartbeat.alive, text)
    signing = await _when_reachable(kube, settings, stop)
    if signing is None:
        if listening is not None:
            listening.close()
        await plain.cleanup()
        await kube.close()
        return
    late: list[Parts] = []
    jobs = operator.Jobs(late)
    book = SiloBook(kube, jobs.wake_silos)
    clients = ClientBook(kube, jobs.client_heard)
    late.append(Parts(kube, signing, book, clients, settings, metrics))
    logs.info("ready", version=version)
    watching = [
        asyncio.create_task(work)
        for work in (
            book.run(),
            heartbeat.run(),
            heartbeat.listen(),
            clients.run(),
            orphans.keep(kube, clients, jobs.loops.keys),
            operator.watch_pods(kube, jobs),
            operator.count(jobs),
            authority.keep(kube, settings, signing, jobs.wake_all),
        )
    ]
    if joining is not None and listening is not None:
        service = JoinService(Grants(kube, joining.api_url), signing, settings, metrics.registry)
        watching.append(asyncio.create_task(service.run(listening)))
        watching.append(asyncio.create_task(published.keep(kube, settings, joining, signing)))
    handling = asyncio.create_task(
        kopf.operator(
            registry=operator.registry(jobs),
            settings=operator.settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            identity=OURSELVES,
        )
    )
    try:
        done, _ = await asyncio.wait([handling, *watching], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await asyncio.wait([handling], timeout=STOP_SECONDS)
        for task in done:
            task.result()
    finally:
        for task in (*watching, handling):
            task.cancel()
        await asyncio.gather(*watching, handling, return_exceptions=True)
        await late[0].admin.close()
        await plain.cleanup()
        await kube.close()


async def _when_reachable(kube: Kube, settings: Settings, stop: asyncio.Event) -> authority.Authority | None:
    """The authority, once the API answers and knows our kinds; None when stopped before."""
    while not stop.is_set():
        try:
            await kube.request("GET", FEDERATED_JOB.path(), params={"limit": "1"})
            return await authority.load_or_create(kube, settings)
        except (ApiError, ValueError) as error:
            missing = "the CustomResourceDefinitions, or the namespace, are not there: apply crds/"
            logs.warning(
                "waiting for the hub's API", error=missing if getattr(error, "status", 0) == 404 else str(error)
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_PAUSE_SECONDS):
                    await stop.wait()
    return None
