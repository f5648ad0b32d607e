"""kopf's part: which events reach which loop. One daemon per FederatedJob is its serial loop.

No handler keeps state in the objects: nothing of a job's spec is copied into annotations, and a finalizer is all that
a job carries of ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from umbel.wire import pki
from umbel_operator import names
from umbel_operator.access import Access, AccessError
from umbel_operator.hub.attention import Name
from umbel_operator.hub.figures import figures, listed, phase
from umbel_operator.hub.loop import JobLoop, Parts
from umbel_operator.hub.manifests.common import SERVER
from umbel_operator.hub.observed import Object, Silo
from umbel_operator.kube import POD, ApiError, Kube

RETRY_SECONDS = 2.0
COUNT_SECONDS = 5.0


class Jobs:
    """The loops of all jobs that are ours, by uid."""

    def __init__(self, parts_later: list[Parts]) -> None:
        self._parts_later = parts_later  # filled once; the silo book needs `wake_silos` before there are parts
        self.loops: dict[str, JobLoop] = {}

    @property
    def parts(self) -> Parts:
        return self._parts_later[0]

    def loop(self, obj: Object) -> JobLoop:
        uid = obj["metadata"]["uid"]
        if uid not in self.loops:
            self.loops[uid] = JobLoop(obj, self.parts)
        return self.loops[uid]

    def client_heard(self, uid: str, name: Name, version: int | None) -> None:
        if uid in self.loops:
            self.loops[uid].client_heard(name, version)

    def pod_heard(self, uid: str) -> None:
        if uid in self.loops:
            self.loops[uid].pod_heard()

    def wake_all(self) -> None:
        for loop in self.loops.values():
            loop.wake()

    def wake_silos(self, changed: set[str]) -> None:
        for loop in self.loops.values():
            if loop.concerns(changed):
                loop.wake()

    def count(self) -> None:
        """Bring the gauges up to date."""
        metrics, ends = self.parts.metrics, {uid: loop.certificate_ends for uid, loop in self.loops.items()}
        jobs = [loop.obj for loop in self.loops.values()]
        metrics.jobs(Counter(map(phase, jobs)))
        metrics.silos(Counter(_state(silo) for silo in self.parts.silos.silos.values()))
        metrics.authority_ends(pki.expiry(self.parts.authority.bundle.encode()))
        shown, unlisted = listed(jobs)
        metrics.show({_name(job): figures(job, ends[job["metadata"]["uid"]]) for job in shown}, unlisted)


def ours(spec: Mapping[str, Any], **_: Any) -> bool:
    """Another controller may have a job for itself (spec.managedBy)."""
    return spec.get("managedBy") in (None, "", names.OPERATOR)


def registry(jobs: Jobs) -> kopf.OperatorRegistry:
    made = kopf.OperatorRegistry()
    jobs_kind = ("umbel.dev", "v1alpha1", "federatedjobs")

    @kopf.on.login(registry=made)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(jobs.parts.kube.access)

    @kopf.on.event(*jobs_kind, registry=made)
    def seen(type: str | None, body: kopf.Body, **_: Any) -> None:
        uid = body["metadata"]["uid"]
        if type == "DELETED":
            jobs.loops.pop(uid, None)
        elif uid in jobs.loops:
            jobs.loops[uid].offer(plain(body))

    @kopf.daemon(
        *jobs_kind, when=ours, registry=made, id="reconcile", cancellation_backoff=10.0, cancellation_timeout=5.0
    )
    async def reconcile(body: kopf.Body, stopped: kopf.DaemonStopped, **_: Any) -> None:
        loop = jobs.loop(plain(body))
        running = asyncio.create_task(loop.run(lambda: bool(stopped)))
        waiting = asyncio.ensure_future(_until(stopped))
        try:
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.wake()  # kopf may give up on this before the pass at hand has ended: then that pass is the last
            async with loop.lock:  # the pass at hand ends first
                running.cancel()
            waiting.cancel()
            await asyncio.gather(running, waiting, return_exceptions=True)

    @kopf.on.delete(*jobs_kind, when=ours, registry=made, id="remove", backoff=RETRY_SECONDS)
    async def remove(body: kopf.Body, **_: Any) -> None:
        obj = plain(body)
        loop = jobs.loop(obj)  # kept until it is done: every try waits for the same lock
        try:
            async with loop.lock:
                await jobs.parts.hands.remove(obj, await jobs.parts.eyes.clients_left(obj))
        except (ApiError, AccessError) as error:
            raise kopf.TemporaryError(str(error), delay=RETRY_SECONDS) from None
        jobs.loops.pop(obj["metadata"]["uid"], None)

    return made


async def _until(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait()


def plain(body: kopf.Body) -> dict[str, Any]:
    """kopf's views as the dict that came over the wire. Who wrote which field is a good half of it and read by nobody:
    it is dropped from what kopf keeps, too."""
    whole = dict(body)
    whole["metadata"].pop("managedFields", None)
    return whole


def connection(access: Access) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=access.server,
        ca_data=access.authorities.encode() if access.authorities else None,
        insecure=access.insecure or None,
        token=access.token,
        certificate_data=access.certificate.encode() if access.certificate else None,
        private_key_data=access.key.encode() if access.key else None,
        default_namespace=access.namespace,
    )


class NothingKept(kopf.DiffBaseStorage):
    """kopf's copy of an object as last handled, and the one to compare it with: no handler needs either."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return self.build(body=body)

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return None


def settings() -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    made.persistence.finalizer = names.FINALIZER
    made.persistence.diffbase_storage = NothingKept()
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.PREFIX)
    made.posting.enabled = False  # Events are ours
    made.peering.standalone = True
    made.scanning.disabled = True
    made.background.cancellation_polling = 2.0
    made.watching.server_timeout = 300  # kopf writes it into the query as it is: an integer
    made.networking.request_timeout = 30.0
    return made


async def watch_pods(kube: Kube, jobs: Jobs) -> None:
    """The servers'. Their labels say whose they are, and nothing else of them is asked for."""
    async for change, item in kube.watch(POD, selector=f"{names.COMPONENT}={SERVER}", metadata_only=True):
        if change != "SYNCED":
            jobs.pod_heard((item["metadata"].get("labels") or {}).get(names.JOB_UID, ""))


async def count(jobs: Jobs) -> None:
    """Keep the gauges."""
    while True:
        jobs.count()
        await asyncio.sleep(COUNT_SECONDS)


def _name(job: Object) -> tuple[str, str]:
    return job["metadata"]["namespace"], job["metadata"]["name"]


def _state(silo: Silo) -> str:
    if silo.suspended:
        return "Suspended"
    if silo.alive is None:
        return "Invited"  # or added, and its agent was never heard
    return "Ready" if silo.alive else "Unknown"
