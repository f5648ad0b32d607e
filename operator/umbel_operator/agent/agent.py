"""The agent as a whole: what it watches at the hub and at home, its workers, its heartbeat, its token."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from umbel_operator import kube, logs
from umbel_operator.access import AccessError
from umbel_operator.agent import credentials, heartbeat
from umbel_operator.agent.backends.base import Trouble
from umbel_operator.agent.join import JoinError, Removed
from umbel_operator.agent.leeway import leeway
from umbel_operator.agent.metrics import STATES
from umbel_operator.agent.worker import MANAGER, Context, Worker
from umbel_operator.pauses import Pauses

SWEEP_SECONDS = 300.0
TOKEN_LOOK_SECONDS = 60.0
STUCK_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """``namespace``: of this silo at the hub. ``holder``: of the Lease."""

    namespace: str
    holder: str
    version: str


class Agent:
    def __init__(self, context: Context, identity: Identity, tokens: credentials.Tokens) -> None:
        self._context = context
        self._identity = identity
        self._tokens = tokens
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._present: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._hub_fault = ""
        self._ask = asyncio.Event()  # for another token, due or not
        self._asking = Pauses(first=1.0, longest=300.0)  # a hub that goes on refusing is not asked all the time
        self._removed = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled, when the clients go on without it; or until the silo was removed from the hub, and
        nothing of its clients is left."""
        logs.info("the agent starts", silo=self._context.site.silo, version=self._identity.version)
        for one in leeway(self._context.site):
            logs.info(f"the site file leaves to the hub {one.what}", name=one.field)
        pieces = (
            *(self._watch_hub, self._watch_silo, self._sweep_regularly, self._beat, self._renew),
            *(self._hear_answers, self._context.desk.ask),
        )
        self._tasks = [asyncio.create_task(_for_ever(piece)) for piece in pieces]
        try:
            await self._removed.wait()
            await self._leave()
        finally:
            running = [*self._tasks, *(task for _, task in self._workers.values())]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            rest = "the silo is no member any more" if self._removed.is_set() else "its clients go on"
            logs.info(f"the agent has stopped; {rest}", silo=self._context.site.silo)

    async def _leave(self) -> None:
        """The hub is not spoken to any more; the clients go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        pauses = Pauses(first=0.1, longest=10.0)
        while True:
            with contextlib.suppress(Trouble):
                if not (known := set(await self._context.backend.known())):
                    break
                for name in known | self._workers.keys():
                    self._update(name, None)
            await asyncio.sleep(pauses.next())
        await self._tokens.leave()

    def healthy(self) -> bool:
        """Whether starting it again would help: never because the hub or the silo's API cannot be reached."""
        now = time.monotonic()
        stuck = any(w.pass_since is not None and now - w.pass_since > STUCK_SECONDS for w, _ in self._workers.values())
        leaving = self._removed.is_set()
        return bool(self._tasks) and not stuck and (leaving or not any(task.done() for task in self._tasks))

    def count(self) -> None:
        """Bring the gauges up to date."""
        metrics = self._context.metrics
        states = [worker.state for worker, _ in self._workers.values() if not worker.gone]
        for state in STATES:
            metrics.clients.labels(state).set(states.count(state))

    # ---- what is heard

    async def _watch_hub(self) -> None:
        """A list is complete whenever it is said to be: only then is anything missed."""
        async for change, obj in self._context.hub.watch(kube.FEDERATED_CLIENT, self._identity.namespace):
            if change == "SYNCED":
                await self._sweep(set(self._present))
            elif change == "DELETED":
                self._present.discard(obj["metadata"]["name"])
                self._update(obj["metadata"]["name"], None)
            else:
                self._present.add(obj["metadata"]["name"])
                self._update(obj["metadata"]["name"], obj)

    async def _watch_silo(self) -> None:
        await self._context.backend.watch(self._wake)

    async def _hear_answers(self) -> None:
        def wake() -> None:
            for worker, _ in self._workers.values():
                worker.wake()

        await self._context.desk.listen(wake)

    def _wake(self, name: str) -> None:
        if name in self._workers:
            self._workers[name][0].wake()

    def _update(self, name: str, obj: kube.Object | None) -> None:
        if name in self._workers:
            self._workers[name][0].update(obj)
            return
        worker = Worker(name, self._context, None)
        worker.update(obj)
        self._workers[name] = worker, asyncio.create_task(self._work(worker))

    async def _work(self, worker: Worker) -> None:
        await worker.run()
        del self._workers[worker.name]

    # ---- orphans

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.8, 1.2))
            before = set(self._present)
            try:
                found = await self._context.hub.list(kube.FEDERATED_CLIENT, self._identity.namespace)
            except (kube.ApiError, AccessError):
                continue  # what was not heard proves nothing
            listed = {obj["metadata"]["name"] for obj in found}
            for name in before - listed:  # of which the watch will hear late, if at all
                self._present.discard(name)
                self._update(name, None)
            await self._sweep(listed)

    async def _sweep(self, present: set[str]) -> None:
        """Remove what has no FederatedClient in ``present``, a complete list, nor one made since."""
        try:
            known = await self._context.backend.known()
        except Trouble:
            return  # the next sweep will see
        for name in set(known) - present - self._present:
            logs.info("nothing at the hub asks for it any more", client=name)
            self._update(name, None)

    # ---- the silo itself

    async def _beat(self) -> None:
        pauses = Pauses(first=1.0, longest=heartbeat.BEAT_SECONDS)
        identity, context = self._identity, self._context
        while True:
            lease = heartbeat.lease(
                identity.namespace,
                identity.holder,
                identity.version,
                context.backend.name,
                context.site.datasets,
                time.time(),
            )
            try:
                await context.hub.apply(lease, manager=MANAGER)
            except (kube.ApiError, AccessError) as error:
                self._not_heard(error)
                await asyncio.sleep(pauses.next())
                continue
            self._heard()
            pauses.reset()
            await asyncio.sleep(heartbeat.BEAT_SECONDS)

    def _heard(self) -> None:
        self._asking.reset()
        self._context.metrics.heard.set(time.time())
        if self._hub_fault:
            self._hub_fault = ""
            logs.info("the hub is reached again")

    def _not_heard(self, error: kube.ApiError | AccessError) -> None:
        """Said once for each kind of fault, not at every try."""
        if isinstance(error, kube.ApiError) and error.status in (401, 403) and self._tokens.asks_when_refused:
            self._ask.set()
        fault = f"{error.status} {error.reason}" if isinstance(error, kube.ApiError) else "no access"
        if fault == self._hub_fault:
            return
        self._hub_fault = fault
        refused = isinstance(error, kube.ApiError) and error.status == 401
        logs.error(self._tokens.refused if refused else "the hub is not reached", error=str(error))

    async def _renew(self) -> None:
        pauses = Pauses(first=5.0, longest=300.0)
        while True:
            try:
                wait = await self._renew_once()
            except Removed as error:
                logs.warning("the hub has removed this silo; its clients are removed", error=str(error))
                self._removed.set()
                return
            except (kube.ApiError, AccessError, JoinError) as error:
                logs.warning("the token for the hub was not renewed", error=str(error))
                await asyncio.sleep(pauses.next())
                continue
            pauses.reset()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._ask.wait()

    async def _renew_once(self) -> float:
        """Renews the token if it is time; seconds until the next look. The file may be replaced at any time."""
        if self._ask.is_set():
            await self._tokens.renew(self._context.hub, self._identity.namespace)
            await asyncio.sleep(self._asking.next())
            self._ask.clear()
        token = self._context.hub.access.token
        lived, due = credentials.life(token), credentials.renew_at(token)
        if lived is None or due is None:
            return TOKEN_LOOK_SECONDS
        self._context.metrics.token.set(lived[1])
        if (left := due - time.time()) > 0:
            return min(left, TOKEN_LOOK_SECONDS)
        await self._tokens.renew(self._context.hub, self._identity.namespace)
        return TOKEN_LOOK_SECONDS


async def _for_ever(piece: Callable[[], Awaitable[None]]) -> None:
    """A fault of the program in one piece ends neither it nor the others."""
    pauses = Pauses()
    while True:
        try:
            await piece()
        except Exception:
            logs.error("a part of the agent failed and is started again", trace=True)
        await asyncio.sleep(pauses.next())
