"""The serial loop of one FederatedJob: look, decide, do, wait. It never ends by an exception."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from umbel.wire import pki
from umbel_operator import logs, names
from umbel_operator.access import AccessError
from umbel_operator.conditions import Condition, find, merge
from umbel_operator.hub import reasons, server_pod
from umbel_operator.hub.admin import Admin, Unreachable
from umbel_operator.hub.authority import Authority
from umbel_operator.hub.execute import Hands, Memory
from umbel_operator.hub.observe import Eyes, admin_address
from umbel_operator.hub.observed import Key, Object, Observed, ServerSight
from umbel_operator.hub.plan import Apply, Delete, Plan
from umbel_operator.hub.reconcile import reconcile
from umbel_operator.hub.settings import Settings
from umbel_operator.hub.silos import SiloBook
from umbel_operator.kube import ApiError, Kube
from umbel_operator.metrics import Metrics

PAUSES = (1.0, 60.0)  # seconds after the first and after many failed passes in a row
POLL_SECONDS = 1.0  # between two looks at a server's /status
LOOK_SECONDS = 60.0  # between two full looks at the API while a server runs and nothing is heard


class JobLoop:
    """``obj``: the newest that a watch has shown."""

    def __init__(self, obj: Object, parts: Parts) -> None:
        self.lock = asyncio.Lock()  # a deletion waits for the pass at hand
        self._obj = obj
        self._parts = parts
        self._woken = asyncio.Event()
        self._wakes = 0
        self._memory = Memory({})
        self._signed: dict[str, str] = {}
        self.certificate_ends: list[float] = []  # of its clients', Unix time
        self._sight = ServerSight()
        self._seen: Observed | None = None
        self._looked = 0.0
        self._at_rest: tuple[Observed, ServerSight, float] | None = None
        self._failures = 0

    @property
    def obj(self) -> Object:
        return self._obj

    def offer(self, obj: Object) -> None:
        """A watch has seen the job; what this loop wrote itself may be newer."""
        if _version(obj) <= _version(self._obj):
            return
        changed = obj["metadata"].get("generation") != self._obj["metadata"].get("generation")
        self._obj = obj
        if changed:
            self.wake()

    def wake(self) -> None:
        """Something that the job is made of has changed."""
        self._wakes += 1
        self._seen = None
        self._woken.set()

    def concerns(self, silos: set[str]) -> bool:
        listed = {silo["name"] for silo in self._obj["spec"].get("silos") or ()}
        return bool(listed & silos) or "siloSelector" in self._obj["spec"]

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until ``stopped`` says so, or cancellation."""
        await self._parts.silos.ready()
        while not stopped():
            self._woken.clear()
            began = time.monotonic()
            async with self.lock:
                if stopped():
                    return
                again = await self._pass()
            self._parts.metrics.reconciled("FederatedJob", time.monotonic() - began)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await self._woken.wait()

    async def _pass(self) -> float:
        """One pass; seconds until the next, unless woken."""
        try:
            again = await self._once()
            self._failures = 0
            return again
        except (ApiError, AccessError, Unreachable) as error:
            await self._failed(error)
        except Exception as error:  # a fault of ours must not leave the job without its loop
            logs.error("fault", trace=True, job=self._obj["metadata"]["name"])
            await self._failed(error)
        self._seen = None
        self._failures += 1
        pause = min(PAUSES[1], PAUSES[0] * 2.0 ** (self._failures - 1))
        return pause * random.uniform(0.5, 1.0)

    async def _once(self) -> float:
        """Seconds until the next pass."""
        now = time.time()
        seen = await self._look()
        await self._look_at_server(seen.objects, seen.pod)
        polls = server_pod.runs(seen.pod)
        if self._rests(seen, now):
            return POLL_SECONDS
        observed = self._completed(seen, now)
        plan = reconcile(self._obj, observed, self._parts.settings, now)
        address = admin_address(observed.objects, self._obj)
        if self._changes(plan):
            self._seen = None  # the next pass looks at what it made of them
        self._obj = await self._parts.hands.execute(self._obj, plan, self._memory, address)
        again = plan.again * random.uniform(0.9, 1.0)
        self._at_rest = None if plan.actions else (seen, self._sight, now + again)
        if not polls:
            self._seen = self._at_rest = None  # it is not needed soon, and there may be thousands of jobs
        if self._changes(plan):
            return 0.0
        return min(again, POLL_SECONDS) if polls else again

    def _rests(self, seen: Observed, now: float) -> bool:
        """Whether a pass wanted nothing of the very same, and time alone has not come to matter since."""
        if self._at_rest is None:
            return False
        before, sight, until = self._at_rest
        return before is self._seen and before is seen and sight == self._sight and now < until

    @staticmethod
    def _changes(plan: Plan) -> bool:
        """Whether objects of the job were made, changed or deleted: their addresses may be what the rest waits for."""
        return any(isinstance(action, Apply | Delete) for action in plan.actions)

    async def _look(self) -> Observed:
        """What the API has of the job: kept while its server is polled, until something changes."""
        eyes, obj, uid = self._parts.eyes, self._obj, self._obj["metadata"]["uid"]
        if self._seen is not None and time.monotonic() - self._looked <= LOOK_SECONDS:
            return self._seen
        wakes = self._wakes
        objects, clients, pod, gateway, addresses = await asyncio.gather(
            eyes.objects(obj), eyes.clients(uid), eyes.pod(obj), eyes.gateway(obj), eyes.addresses(obj)
        )
        self._looked = time.monotonic()
        seen = Observed(
            objects=objects,
            pod=pod,
            pod_node_lost=await eyes.node_lost(pod),
            gateway=gateway,
            clients=clients,
            addresses=addresses,
        )
        # What changed while it was being read may not be in it.
        self._seen = seen if self._wakes == wakes else None
        return seen

    def _completed(self, seen: Observed, now: float) -> Observed:
        """With certificates, and what this process itself knows."""
        authority, meta = self._parts.authority, self._obj["metadata"]
        certificates, faults = authority.certificates(seen.clients, self._signed, now)
        signed = {name: pem for name, pem in certificates.items() if name in seen.clients}
        if signed != self._signed:
            self._signed = signed
            self.certificate_ends = [pki.expiry(pem.encode()) for pem in signed.values()]
        for name in faults:
            logs.warning("a certificate request was refused", client=name)
        secret = seen.objects.get(("Secret", meta["namespace"], names.server_tls(meta["name"])))
        return replace(
            seen,
            silos=self._parts.silos.silos,
            server=self._sight,
            tls=authority.tls(meta["namespace"], meta["name"], secret, now),
            bundle=authority.bundle,
            certificates=certificates,
            applied=self._memory.applied,
            told=self._memory.told,
        )

    async def _look_at_server(self, objects: Mapping[Key, Object], pod: Object | None) -> None:
        """Only where one runs: a call to a Service without a pod would hold the pass up until it times out."""
        meta = self._obj["metadata"]
        address = admin_address(objects, self._obj)
        if address is None or not server_pod.runs(pod):
            self._sight = ServerSight()
            return
        before = self._sight
        try:
            status = await self._parts.admin.status(address, meta["name"], meta["namespace"])
            self._sight = ServerSight(status)
        except Unreachable as error:
            self._sight = ServerSight(None, str(error))
            if before.status is not None:
                self._seen = None  # why it cannot be reached, its pod says
        # One that restarted has a new epoch, and has to be told everything again.
        told, present = self._memory.told, self._sight.status
        if told is not None and present is not None and told.epoch != present["epoch"]:
            self._memory.told = None

    async def _failed(self, error: Exception) -> None:
        """A pass that failed is told in a condition too, where that can still be written."""
        reason = reasons.APPLY_FAILED if isinstance(error, ApiError) else type(error).__name__
        self._parts.metrics.failed("FederatedJob", reason)
        message = str(error) if isinstance(error, ApiError) else type(error).__name__
        logs.warning("pass failed", job=self._obj["metadata"]["name"], error=message)
        if isinstance(error, ApiError) and error.status in (0, 404, 409):
            return  # there is nobody to tell, or nothing to tell of: the job is gone
        with contextlib.suppress(ApiError, AccessError):
            await self._tell_failure(reason, message)

    async def _tell_failure(self, reason: str, message: str) -> None:
        before, generation = self._obj.get("status") or {}, self._obj["metadata"]["generation"]
        was = find(before.get("conditions"), reasons.RECONCILED)
        if (was.get("reason"), was.get("message")) == (reason, message):
            return
        said = merge(
            before.get("conditions") or (),
            [Condition(reasons.RECONCILED, "False", reason, message)],
            generation,
            time.time(),
        )
        others = [entry for entry in before.get("conditions") or () if entry["type"] != reasons.RECONCILED]
        self._obj = await self._parts.hands.set_status(self._obj, {**before, "conditions": [*others, *said]})


class Parts:
    """What all loops share."""

    def __init__(self, kube: Kube, authority: Authority, silos: SiloBook, settings: Settings, metrics: Metrics) -> None:
        self.kube = kube
        self.authority = authority
        self.silos = silos
        self.settings = settings
        self.metrics = metrics
        self.admin = Admin(lambda: authority.context(time.time()))
        self.eyes = Eyes(kube)
        self.hands = Hands(kube, self.admin)


def _version(obj: Object) -> int:
    """Resource versions are comparable numbers (https://kubernetes.io/docs/reference/using-api/api-concepts)."""
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdecimal() else 0
