"""What wakes a job's loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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
