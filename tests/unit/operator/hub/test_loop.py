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
