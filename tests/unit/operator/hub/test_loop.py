"""What wakes a job's loop, and whom it waits for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from umbel_operator.hub import pace
from umbel_operator.hub.attention import LOOK_SECONDS, POD_SECONDS, Need
from umbel_operator.hub.loop import JobLoop
from umbel_operator.hub.observed import Object, Observed
from umbel_operator.hub.plan import REST_SECONDS, Plan, SetStatus


def job(generation: int, version: int) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "default", "uid": "u", "generation": generation}
    return {"metadata": {**meta, "resourceVersion": str(version)}, "spec": {}}


@pytest.mark.parametrize(("generation", "woken"), [(1, False), (2, True)])
async def test_an_edit_that_the_answer_to_a_written_status_has_in_it(generation: int, woken: bool) -> None:
    """The watch tells of it later, and of something older, which wakes nobody."""

    async def execute(*_: Any) -> dict[str, Any]:
        return job(generation, 3)

    loop = JobLoop(job(1, 1), SimpleNamespace(hands=SimpleNamespace(execute=execute)))
    await loop._do(Plan((SetStatus({}),)))
    loop.offer(job(generation, 2))
    assert await loop._is_woken(0.0) == woken


async def test_an_edit_that_a_watch_shows_while_the_rest_of_a_plan_is_done_is_kept() -> None:
    """After the status is written, an Event is: the answer is older then than what the watch has shown."""
    loops: list[JobLoop] = []

    async def execute(*_: Any) -> dict[str, Any]:
        written = job(1, 2)
        loops[0].offer(job(2, 3))
        return written

    loops.append(JobLoop(job(1, 1), SimpleNamespace(hands=SimpleNamespace(execute=execute))))
    await loops[0]._do(Plan((SetStatus({}),)))
    assert loops[0].obj == job(2, 3)
    assert await loops[0]._is_woken(0.0)


class Slow(JobLoop):
    """A pass that waits at each of its steps; ``at_once``: how many of all are at the API server, and were at most."""

    at_once: list[int]
    answers: asyncio.Event  # of its server

    async def _at_the_api(self) -> None:
        self.at_once[0] += 1
        self.at_once[1] = max(self.at_once)
        await asyncio.sleep(0)
        self.at_once[0] -= 1

    async def _look(self, need: Need) -> None:
        await self._at_the_api()

    async def _look_at_server(self, *_: Any) -> None:
        await self.answers.wait()

    async def _decide_and_do(self, now: float) -> Plan:
        await self._at_the_api()
        return Plan(())


def slow(parts: Any, at_once: list[int], *, answers: bool) -> Slow:
    loop = Slow(job(1, 1), parts)
    loop.at_once, loop.answers = at_once, asyncio.Event()
    if answers:
        loop.answers.set()
    return loop


async def test_few_passes_are_at_the_api_server_at_once() -> None:
    parts, at_once = SimpleNamespace(turns=asyncio.Semaphore(pace.PASSES_AT_ONCE), polled=set()), [0, 0]
    async with asyncio.timeout(10):
        await asyncio.gather(*(slow(parts, at_once, answers=True)._once() for _ in range(10 * pace.PASSES_AT_ONCE)))
    assert at_once == [0, pace.PASSES_AT_ONCE]


async def test_who_waits_for_a_server_holds_nobody_up() -> None:
    parts, at_once = SimpleNamespace(turns=asyncio.Semaphore(1), polled=set()), [0, 0]
    waiting = asyncio.create_task(slow(parts, at_once, answers=False)._once())
    async with asyncio.timeout(10):
        await slow(parts, at_once, answers=True)._once()
    assert not waiting.done()
    waiting.cancel()


class Watchful(JobLoop):
    """Of a job that has what it is to have; ``pod`` is its server's, and ``looks`` and ``decisions`` are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], pod: Object | None) -> None:
        clients = SimpleNamespace(of=lambda uid: frozenset())
        turns = asyncio.Semaphore(1)
        super().__init__(
            {**job(1, 1), "spec": spec},
            SimpleNamespace(turns=turns, polled=set(), clients=clients, eyes=SimpleNamespace(look=self._answer)),
        )
        self.pod, self.now, self.looks, self.decisions = pod, 1000.0, 0, 0
        monkeypatch.setattr("umbel_operator.hub.loop.time", SimpleNamespace(time=self._clock, monotonic=self._clock))

    def _clock(self) -> float:
        return self.now

    async def _answer(self, *_: Any) -> Observed:
        self.looks += 1
        return Observed(pod=None if self.pod is None else dict(self.pod))

    async def _decide_and_do(self, now: float) -> Plan:
        self.decisions += 1
        return Plan(again=REST_SECONDS)

    async def passes(self, seconds: float) -> tuple[int, int]:
        """(looks, decisions) in so long, if nothing is heard."""
        before, end = (self.looks, self.decisions), self.now + seconds
        while (after := await self._once()) + self.now < end:
            self.now += after
        self.now = end
        return self.looks - before[0], self.decisions - before[1]


def server(ready: str, **spec: str) -> Object:
    return {"metadata": {}, "spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


NOWHERE, STARTING, READY = server("False"), server("False", nodeName="a"), server("True", nodeName="a")


@pytest.mark.parametrize(
    ("pod", "every"), [(STARTING, POD_SECONDS), (NOWHERE, LOOK_SECONDS), (READY, LOOK_SECONDS), (None, LOOK_SECONDS)]
)
async def test_what_no_watch_tells_of_is_looked_at_and_decided_upon_only_if_it_is_new(
    monkeypatch: pytest.MonkeyPatch, pod: Object | None, every: float
) -> None:
    loop = Watchful(monkeypatch, {}, pod)
    assert await loop.passes(every / 2) == (1, 1)
    looks, decisions = await loop.passes(4 * every)
    assert looks in (3, 4)  # up to a tenth later than is due
    assert decisions == 0
    loop.pod = {**(pod or STARTING), "status": {}}
    assert (await loop.passes(1.1 * every))[1] == 1
    loop.wake()
    assert (await loop.passes(1.0))[1] == 1
    assert (await loop.passes(REST_SECONDS))[1] == 1  # time alone may ask for something


@pytest.mark.parametrize("pod", [STARTING, None])
async def test_of_a_suspended_job_only_a_pod_that_has_not_gone_is_looked_after(
    monkeypatch: pytest.MonkeyPatch, pod: Object | None
) -> None:
    """It may be on a node that is silent."""
    loop = Watchful(monkeypatch, {"suspend": True}, pod)
    looks, _ = await loop.passes(REST_SECONDS / 2)
    assert looks > 20 if pod else looks == 1
