"""The operator process: its parts put together, run, taken apart."""

from __future__ import annotations

import asyncio
import logging
import time

import kopf

from umbel_operator import health
from umbel_operator.hub import authority, operator
from umbel_operator.hub.loop import Parts
from umbel_operator.hub.settings import Settings
from umbel_operator.hub.silos import SiloBook
from umbel_operator.kube import FEDERATED_JOB, ApiError, Kube
from umbel_operator.metrics import Metrics

log = logging.getLogger("umbel.hub")

START_PAUSE_SECONDS = 2.0


async def serve(kube: Kube, settings: Settings, host: str, port: int, version: str) -> None:
    """Until cancelled. An API server that is away at the start is waited for."""
    metrics = Metrics(version)
    heartbeat = health.Heartbeat(kube, settings.namespace)

    def text() -> bytes:
        metrics.echoed(time.time() - (time.monotonic() - heartbeat.echoed))
        return metrics.text()

    plain = await health.serve(host, port, heartbeat.alive, text)
    signing = await _when_reachable(kube, settings)
    late: list[Parts] = []
    jobs = operator.Jobs(late)
    book = SiloBook(kube, jobs.wake_silos)
    late.append(Parts(kube, signing, book, settings, metrics))
    log.info("ready")
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in (book.run(), heartbeat.run(), heartbeat.listen(), operator.watch_pods(kube, jobs)):
                tasks.create_task(work)
            tasks.create_task(operator.count(jobs))
            tasks.create_task(
                kopf.operator(
                    registry=operator.registry(jobs, kube.access),
                    settings=operator.settings(),
                    clusterwide=True,
                    standalone=True,
                )
            )
    finally:
        await late[0].admin.close()
        await plain.cleanup()
        await kube.close()


async def _when_reachable(kube: Kube, settings: Settings) -> authority.Authority:
    """The authority, once the API answers and knows our kinds."""
    while True:
        try:
            await kube.request("GET", FEDERATED_JOB.path(), params={"limit": "1"})
            return await authority.load_or_create(kube, settings)
        except ApiError as error:
            missing = "the CustomResourceDefinitions, or the namespace, are not there: apply crds/"
            log.warning("waiting for the hub's API: %s", missing if error.status == 404 else error)
            await asyncio.sleep(START_PAUSE_SECONDS)
