"""One FederatedClient's serial loop: look, decide, act, say. Woken by whatever may have changed, and by time."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from umbel_operator import kube, logs
from umbel_operator.access import AccessError
from umbel_operator.agent import federatedclient, heard
from umbel_operator.agent.allowance import bounded
from umbel_operator.agent.approvals.desk import Desk
from umbel_operator.agent.backends.base import Backend, Trouble
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import Holding
from umbel_operator.agent.metrics import Metrics, state
from umbel_operator.agent.plan import Clocks, Plan
from umbel_operator.agent.policy import INVALID, decide
from umbel_operator.agent.reconcile import ACCEPTED, READY, farewell, reconcile, troubled, unread
from umbel_operator.agent.site import Site
from umbel_operator.conditions import Condition, find, merge
from umbel_operator.pauses import Pauses

MANAGER = "umbel-agent"
RESYNC_SECONDS = 300.0
SETTLE_SECONDS = 0.1  # what happens at once in a cluster is several events
LONGEST_PAUSE = 20.0


@dataclass(frozen=True, slots=True)
class Context:
    """What all workers of an agent share."""

    hub: kube.Kube
    backend: Backend
    site: Site
    desk: Desk
    metrics: Metrics


class Worker:
    """``name`` of a FederatedClient, there or gone. Ends when it is gone and nothing of it is left in the silo."""

    def __init__(self, name: str, context: Context, obj: kube.Object | None) -> None:
        self.name = name
        self.pass_since: float | None = None
        self._context = context
        self._obj = obj
        self._nothing_left = False
        self._changed = asyncio.Event()
        self._pauses = Pauses(longest=LONGEST_PAUSE)
        self._trouble_since: float | None = None
        self._finished_since: float | None = None
        self._pending_seconds = 0.0
        self._pending_seen: float | None = None

    @property
    def gone(self) -> bool:
        return self._obj is None

    @property
    def state(self) -> str:
        conditions = heard.status_of(self._obj or {}).get("conditions")
        ready = find(conditions, READY)
        return state(ready.get("status", ""), ready.get("reason", ""), find(conditions, ACCEPTED).get("status", ""))

    def wake(self) -> None:
        self._changed.set()

    def update(self, obj: kube.Object | None) -> None:
        """As the hub has it now; None, or one that is being deleted: it is gone. An echo of our own write, or what
        was overtaken by it, wakes nobody."""
        if obj is not None and "deletionTimestamp" in obj["metadata"]:
            obj = None
        if obj is not None and self._obj is not None and not _newer(obj, self._obj):
            return
        if obj is not None or self._obj is not None:
            self._obj, self._nothing_left = obj, False
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            self.pass_since = time.monotonic()
            pause, again = await self._guarded_pass()
            self.pass_since = None
            if self._obj is None and self._nothing_left:
                return  # nothing is awaited from here on: an update cannot come between
            if pause is not None:
                await asyncio.sleep(pause)
            else:
                await self._wait(again)
                await asyncio.sleep(SETTLE_SECONDS)

    async def _guarded_pass(self) -> tuple[float | None, float | None]:
        """How long to pause because it failed, or else after how long to look again."""
        metrics = self._context.metrics
        try:
            with metrics.passes.labels("FederatedClient").time():
                again = await self._pass()
        except (kube.ApiError, AccessError) as error:
            metrics.errors.labels("FederatedClient", "Hub").inc()
            logs.warning("the hub was not told", client=self.name, error=str(error))
        except Trouble as trouble:
            metrics.errors.labels("FederatedClient", "Silo").inc()
            logs.warning("a pass failed", client=self.name, reason=trouble.reason)
        except Exception:
            metrics.errors.labels("FederatedClient", "Program").inc()
            logs.error("a pass failed by a fault of the agent", trace=True, client=self.name)
        else:
            self._pauses.reset()
            return None, again
        return self._pauses.next(), None

    async def _wait(self, again: float | None) -> None:
        resync = RESYNC_SECONDS * random.uniform(0.8, 1.2)
        try:
            async with asyncio.timeout(min(again, resync) if again is not None else resync):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _pass(self) -> float | None:
        """Raises Trouble (told already), ApiError and AccessError of the hub."""
        obj = self._obj
        if obj is None:
            return await self._remove()
        try:
            client = federatedclient.read(obj)
        except ValueError as error:
            logs.error("a FederatedClient that this version does not understand", client=self.name, error=str(error))
            again = await self._stop(str(error))
            await self._say(obj, _not_understood(obj))
            return again
        try:
            plan = await self._act(client)
        except Trouble as trouble:
            plan = self._of_trouble(client, trouble)
            if plan.status is not None:
                await self._say(obj, plan.status)
            raise
        self._trouble_since = None
        if plan.status is not None:
            await self._say(obj, plan.status)
        return plan.again

    async def _act(self, client: FederatedClient) -> Plan:
        context = self._context
        try:
            holding = await context.backend.observe(self.name, client, context.site)
        except Trouble:
            self._pending_seen = None  # time that nobody saw does not count as pending
            raise
        await context.desk.ready.wait()
        clocks, site = self._clocks(client, holding), context.site
        decision = decide(client, site, context.desk.answers)
        decision = bounded(client, decision, site.policy, holding.begun, clocks.now)
        context.desk.heard(client, decision)
        plan = reconcile(client, decision, holding, clocks)
        await context.backend.execute(plan)
        context.metrics.writes.labels("Silo").inc(len(plan.actions))
        return plan

    async def _stop(self, why: str) -> float | None:
        context, plan = self._context, Plan()
        if heard.is_name(self.name):
            plan = unread(await context.backend.observe(self.name, None, context.site))
            await context.backend.execute(plan)
            context.metrics.writes.labels("Silo").inc(len(plan.actions))
        context.desk.not_understood(self.name, why)
        return plan.again

    async def _remove(self) -> float | None:
        context = self._context
        if not heard.is_name(self.name):
            self._nothing_left = True
            context.desk.gone(self.name)
            return None
        plan = farewell(await context.backend.observe(self.name, None, context.site))
        await context.backend.execute(plan)
        context.metrics.writes.labels("Silo").inc(len(plan.actions))
        self._nothing_left = not plan.actions and plan.again is None
        if self._nothing_left:
            context.desk.gone(self.name)
            logs.info("removed", client=self.name)
        return 0.0 if plan.again is None else plan.again

    async def _say(self, obj: kube.Object, status: kube.Object) -> None:
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace")}
        body = {"apiVersion": kube.UMBEL, "kind": "FederatedClient", "metadata": metadata, "status": status}
        try:
            stored = await self._context.hub.apply_status(body, manager=MANAGER)
        except kube.ApiError as error:
            if error.status == 404:
                return  # it has gone; the watch will say so
            raise
        self._context.metrics.writes.labels("Hub").inc()
        ready = find(status["conditions"], READY)
        logs.info("said to the hub", client=self.name, status=ready.get("status"), reason=ready.get("reason"))
        # What came meanwhile is newer, or says that it is gone.
        if self._obj is not None and _newer(stored, self._obj):
            self._obj = stored
            if stored["metadata"].get("generation") != obj["metadata"].get("generation"):
                self._changed.set()  # edited meanwhile; the watch tells of that later, and of what is older than this

    def _clocks(self, client: FederatedClient, holding: Holding) -> Clocks:
        now = time.monotonic()
        if client.desired != "Finished":
            self._finished_since = None
        elif self._finished_since is None:
            self._finished_since = now
        waits = client.desired == "Running" and holding.waits
        if not waits:
            self._pending_seconds = 0.0
        elif self._pending_seen is not None:
            self._pending_seconds += now - self._pending_seen
        self._pending_seen = now if waits else None
        wall = time.time()
        since = None if self._finished_since is None else wall - (now - self._finished_since)
        return Clocks(wall, since, self._pending_seconds)

    def _of_trouble(self, client: FederatedClient, trouble: Trouble) -> Plan:
        now = time.monotonic()
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        if now - self._trouble_since < trouble.patience:
            return Plan()
        return troubled(client, Condition(READY, "Unknown", trouble.reason, str(trouble)), time.time())


def _not_understood(obj: kube.Object) -> kube.Object:
    words = "the agent does not understand this FederatedClient; it may be older than the hub"
    said = [Condition(type_, "False", INVALID, words) for type_ in (ACCEPTED, READY)]
    generation = obj["metadata"].get("generation", 1)
    before: list[dict[str, Any]] = heard.status_of(obj).get("conditions") or []
    return {"observedGeneration": generation, "conditions": merge(before, said, generation, time.time())}


def _newer(obj: kube.Object, than: kube.Object) -> bool:
    """Resource versions of one object, of etcd at least, are numbers that grow; if they are not, whatever differs is
    newer."""
    one, other = (str(o["metadata"].get("resourceVersion", "")) for o in (obj, than))
    if obj["metadata"].get("uid") == than["metadata"].get("uid") and one.isdecimal() and other.isdecimal():
        return int(one) > int(other)
    return one != other
