"""The serial loop of one FederatedJob: look, decide, do, wait. It never ends by an exception."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from umbel.wire import pki
from umbel_operator import logs, names
from umbel_operator.access import AccessError
from umbel_operator.conditions import Condition, find, merge
from umbel_operator.hub import course as courses
from umbel_operator.hub import pace, reasons, server_pod
from umbel_operator.hub.admin import Admin, Unreachable
from umbel_operator.hub.attention import ADDRESS_SECONDS, LOOK_SECONDS, POD_SECONDS, Attention, Name, Need
from umbel_operator.hub.authority import Authority
from umbel_operator.hub.clients import ClientBook
from umbel_operator.hub.execute import Hands, Memory
from umbel_operator.hub.kept import compared, kept, packed, unpacked, version
from umbel_operator.hub.observe import Eyes, admin_address, suspicious
from umbel_operator.hub.observed import Key, Object, Observed, ServerSight, with_written
from umbel_operator.hub.plan import Delete, Plan, objects_first
from umbel_operator.hub.reconcile import reconcile
from umbel_operator.hub.settings import Settings
from umbel_operator.hub.silos import SiloBook
from umbel_operator.kube import ApiError, Kube
from umbel_operator.metrics import Metrics

PAUSES = (1.0, 60.0)  # seconds after the first and after many failed passes in a row
FORGET_SECONDS = 30.0  # of quiet, after which nothing is kept of a job without a server


class JobLoop:
    """``obj``: the newest that a watch has shown."""

    def __init__(self, obj: Object, parts: Parts) -> None:
        self.lock = asyncio.Lock()  # a deletion waits for the pass at hand
        self._obj = obj
        self._parts = parts
        self._woken = asyncio.Event()
        self._wakes = 0
        self._memory = Memory({})
        self.certificate_ends: list[float] = []  # of its clients', Unix time
        self._certified = 0  # hash of what they are of
        self._sight = ServerSight()
        self._attention = Attention()
        self._seen = Observed()
        self._shelf: bytes | None = None  # the clients of `_seen`, but in a turn
        self._at_rest: tuple[Observed, ServerSight, float] | None = None
        self._begun = "status" in obj
        self._failures = 0

    @property
    def obj(self) -> Object:
        return self._obj

    def offer(self, obj: Object) -> None:
        """A watch has seen the job; what this loop wrote itself may be newer."""
        if version(obj) < version(self._obj):
            return
        changed = obj["metadata"].get("generation") != self._obj["metadata"].get("generation")
        self._obj = obj  # of the same version too: kopf keeps it anyway, and so nothing is kept twice
        if changed:
            self.wake()

    def wake(self) -> None:
        """Something has changed that the job is made of, or that it is to be made of."""
        self._wakes += 1
        self._at_rest = None
        self._woken.set()

    def client_heard(self, name: Name, version: int | None) -> None:
        """Of one of its FederatedClients; ``version`` None: it is gone, 0: not known."""
        if version is None:
            self._attention.client_gone(name)
        elif not self._attention.client_shown(name, version):
            return
        self.wake()

    def pod_heard(self) -> None:
        self._attention.pod_shown()
        self.wake()

    def concerns(self, silos: set[str]) -> bool:
        """Whether they may be among its silos; of a spec that is refused they are not: it runs as it was."""
        listed = {silo["name"] for silo in self._obj["spec"].get("silos") or ()}
        accepted = find((self._obj.get("status") or {}).get("conditions"), reasons.SPEC_ACCEPTED)
        return bool(listed & silos) or "siloSelector" in self._obj["spec"] or accepted.get("status") == "False"

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until ``stopped`` says so, or cancellation."""
        await self._parts.silos.ready()
        await self._parts.clients.ready()
        try:
            while not stopped():
                self._woken.clear()
                began = time.monotonic()
                async with self.lock:
                    if stopped():
                        return
                    again = await self._pass()
                took = time.monotonic() - began
                self._parts.metrics.reconciled("FederatedJob", took)
                await self._wait(again, took)
        finally:
            self._parts.polled.discard(self._obj["metadata"]["uid"])

    async def _wait(self, again: float, took: float) -> None:
        """Until it is woken, and what else comes in the same burst has come; at most ``again`` seconds."""
        ended = time.monotonic()
        if again > FORGET_SECONDS and self._needs_nothing_kept():
            if await self._is_woken(FORGET_SECONDS):
                return
            self._forget()
            again -= FORGET_SECONDS
        if again > 0 and await self._is_woken(again):
            rest = pace.pause(time.monotonic() - ended, took, random.uniform(0.5, 1.5))
            await asyncio.sleep(min(rest, again))

    async def _is_woken(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        return self._woken.is_set()

    def _needs_nothing_kept(self) -> bool:
        """There may be thousands that have ended; nothing is soon to come of them."""
        return self._obj["spec"].get("suspend") is True or courses.recorded(self._obj.get("status") or {}) is not None

    def _forget(self) -> None:
        self._seen, self._shelf, self._at_rest = Observed(), None, None
        self._attention.forget()

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
        self._forget()  # what was done of the pass is not known
        self._failures += 1
        pause = min(PAUSES[1], PAUSES[0] * 2.0 ** (self._failures - 1))
        return pause * random.uniform(0.5, 1.0)

    async def _once(self) -> float:
        """Seconds until the next pass. No turn is held while a server's status is waited for. What is decided by
        ``now`` is decided by what was seen later: nothing counts as late that has ended in time."""
        now, wakes = time.time(), self._wakes
        if need := self._needs():
            async with self._parts.turns:
                await self._look(need)
                self._put_by()
        await self._look_at_server(self._seen.objects, self._seen.pod)
        polls = self._polls(self._seen.pod)
        if (until := self._rests_until(now)) is None:
            async with self._parts.turns:
                plan = await self._decide_and_do(now)
                self._put_by()
            self._at_rest = None
            if plan.changes:
                return 0.0
            until = now + plan.again * random.uniform(0.9, 1.0)
            if not plan.actions and self._wakes == wakes:
                self._at_rest = self._seen, self._sight, until
        return max(0.0, min(until - now, self._look_seconds(), self._poll_seconds() if polls else math.inf))

    async def _decide_and_do(self, now: float) -> Plan:
        seen = self._take_out()
        plan = reconcile(self._obj, self._completed(seen, now), self._parts.settings, now)
        if not self._begun:
            plan, self._begun = objects_first(plan), True
        self._seen = compared(seen, plan.settled, self._memory.applied)
        await self._do(plan)
        return plan

    async def _do(self, plan: Plan) -> None:
        """What is written is seen: it is not read again."""
        written: list[Object] = []
        address = admin_address(self._seen.objects, self._obj)
        planned_for = self._obj["metadata"].get("generation")
        self._wrote(await self._parts.hands.execute(self._obj, plan, self._memory, address, written.append))
        if self._obj["metadata"].get("generation") != planned_for:
            self.wake()  # edited meanwhile; the watch tells of that later, and of what is older than this
        for action in plan.actions:
            if isinstance(action, Delete):
                self._attention.deleted(action.kind, action.namespace, action.name)
        if not written:
            return
        for live in written:
            if live["kind"] == "FederatedClient":
                meta = live["metadata"]
                self._attention.client_read((meta["namespace"], meta["name"]), version(live))
        self._seen = with_written(self._seen, map(kept, written))

    def _wrote(self, obj: Object) -> None:
        """The job as it is after a write of ours, unless a watch has shown that, or a newer one, meanwhile."""
        if version(obj) > version(self._obj):
            self._obj = obj

    def _polls(self, pod: Object | None) -> bool:
        """Whether its server is looked at regularly; of all loops it is known how many do."""
        polls, uid = server_pod.runs(pod), self._obj["metadata"]["uid"]
        (self._parts.polled.add if polls else self._parts.polled.discard)(uid)
        return polls

    def _poll_seconds(self) -> float:
        return pace.poll_seconds(len(self._parts.polled)) * random.uniform(0.9, 1.0)

    def _put_by(self) -> None:
        """Who waits keeps little."""
        if self._shelf is None:
            self._shelf, self._seen = packed(self._seen.clients), replace(self._seen, clients={})

    def _take_out(self) -> Observed:
        if self._shelf is not None:
            self._seen = replace(self._seen, clients=unpacked(self._shelf))
            self._shelf = None
        return self._seen

    def _rests_until(self, now: float) -> float | None:
        """When time alone may ask for more of the very same, of which a pass wanted nothing; None: a pass may want
        something."""
        if self._at_rest is None:
            return None
        before, sight, until = self._at_rest
        return until if before is self._seen and sight == self._sight and now < until else None

    def _needs(self) -> Need:
        """Of what the API has of the job, what may have changed since it was read."""
        return self._attention.take(time.monotonic(), *self._intervals())

    def _look_seconds(self) -> float:
        """Until there is to be looked again though nothing is heard."""
        if self._needs_nothing_kept() and self._seen.pod is None:
            return math.inf
        return self._attention.seconds_left(time.monotonic(), *self._intervals())

    def _intervals(self) -> tuple[float, float]:
        """Seconds between two looks at what no watch tells of, and at the server's pod."""
        waits = find((self._obj.get("status") or {}).get("conditions"), reasons.PROGRESSING).get("reason")
        every = ADDRESS_SECONDS if waits == reasons.WAITING_FOR_ENDPOINT else LOOK_SECONDS
        pod_every = POD_SECONDS if self._seen.pod is not None and suspicious(self._seen.pod) else LOOK_SECONDS
        return every, pod_every

    async def _look(self, need: Need) -> None:
        parts, obj = self._parts, self._obj
        known = parts.clients.of(obj["metadata"]["uid"])
        before = self._seen if need.clients == frozenset() else self._take_out()
        seen = await parts.eyes.look(obj, before, need, known, self._memory.applied)
        if seen != before:
            self._seen = seen  # else the same object stays: by that `_rests_until` knows it
        self._attention.looked(need, time.monotonic())
        for namespace, name in known if need.clients is None else need.clients:
            if (found := seen.clients.get(name)) is not None:
                self._attention.client_read((namespace, name), version(found))
            else:
                self._attention.client_missing((namespace, name))

    def _completed(self, seen: Observed, now: float) -> Observed:
        """With certificates, and what this process itself knows."""
        authority, meta = self._parts.authority, self._obj["metadata"]
        certificates, faults = authority.certificates(seen.clients, now)
        if (certified := hash(frozenset(certificates.items()))) != self._certified:
            self._certified = certified
            self.certificate_ends = [pki.expiry(pem.encode()) for pem in certificates.values()]
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
                self._attention.pod_shown()  # why it cannot be reached, its pod says
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
        self._wrote(await self._parts.hands.set_status(self._obj, {**before, "conditions": [*others, *said]}))


class Parts:
    """What all loops share."""

    def __init__(
        self,
        kube: Kube,
        authority: Authority,
        silos: SiloBook,
        clients: ClientBook,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.kube = kube
        self.authority = authority
        self.silos = silos
        self.settings = settings
        self.metrics = metrics
        self.admin = Admin(lambda: authority.context(time.time()))
        self.clients = clients
        self.turns = asyncio.Semaphore(pace.PASSES_AT_ONCE)
        self.polled: set[str] = set()  # uids of the jobs whose servers are looked at regularly
        self.eyes = Eyes(kube)
        self.hands = Hands(kube, self.admin)
