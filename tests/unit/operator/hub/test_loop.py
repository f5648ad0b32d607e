"""What wakes a job's loop, and whom it waits for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from umbel_operator.hub import pace
from umbel_operator.hub.attention import Need
from umbel_operator.hub.loop import JobLoop
from umbel_operator.hub.plan import Plan, SetStatus


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


@pytest.mark.parametrize(
    ("spec", "status", "concerned"),
    [
        ({"silos": [{"name": "a"}]}, {}, True),
        ({"silos": [{"name": "b"}]}, {}, False),
        ({"siloSelector": {}}, {}, True),
        ({"silos": [{"name": "b"}]}, {"conditions": [{"type": "SpecAccepted", "status": "False"}]}, True),
    ],
)
def test_whom_a_change_of_a_silo_concerns(spec: dict[str, Any], status: dict[str, Any], concerned: bool) -> None:
    """A job whose edited spec is refused goes on with the silos that it had."""
    assert JobLoop({**job(1, 1), "spec": spec, "status": status}, SimpleNamespace()).concerns({"a"}) == concerned
