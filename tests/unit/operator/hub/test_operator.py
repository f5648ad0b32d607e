"""The daemon that kopf runs for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from umbel_operator.hub import operator
from umbel_operator.hub.loop import JobLoop
from umbel_operator.hub.plan import REST_SECONDS

JOB = {"metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "1"}, "spec": {}}


class Stopped:
    """As kopf's DaemonStopped."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __bool__(self) -> bool:
        return self.event.is_set()

    async def wait(self) -> None:
        await self.event.wait()


class Busy(JobLoop):
    """``goes_on``: the pass at hand ends then, and wants the next one in an hour."""

    def __init__(self) -> None:
        async def ready() -> None: ...

        book = SimpleNamespace(ready=ready)
        metrics = SimpleNamespace(reconciled=lambda *_: None)
        super().__init__(JOB, SimpleNamespace(silos=book, clients=book, polled=set(), metrics=metrics))
        self.goes_on, self.at_it, self.ended, self.passes = asyncio.Event(), asyncio.Event(), asyncio.Event(), 0

    async def _pass(self) -> float:
        self.passes += 1
        self.at_it.set()
        await self.goes_on.wait()
        return REST_SECONDS

    async def run(self, stopped: Callable[[], bool]) -> None:
        try:
            await super().run(stopped)
        finally:
            self.ended.set()


def daemon(monkeypatch: pytest.MonkeyPatch, loop: JobLoop) -> Callable[..., Any]:
    found: list[Callable[..., Any]] = []
    monkeypatch.setattr(kopf, "daemon", lambda *_, **__: found.append)
    jobs = operator.Jobs([])
    jobs.loops["u"] = loop
    operator.registry(jobs)
    return found[0]


@pytest.mark.parametrize("given_up", [False, True])
async def test_the_pass_at_hand_is_the_last_of_a_daemon_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    """kopf waits for it for a while, and then cancels what it waits for."""
    loop, stopped = Busy(), Stopped()
    task = asyncio.create_task(daemon(monkeypatch, loop)(body=JOB, stopped=stopped))
    async with asyncio.timeout(10):
        await loop.at_it.wait()
        stopped.event.set()
        for _ in range(10):  # more than it takes from there to the wait for the pass
            await asyncio.sleep(0)
        assert not task.done()
        if given_up:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not loop.ended.is_set()
        loop.goes_on.set()
        await loop.ended.wait()
        if not given_up:
            await task
    assert loop.passes == 1
