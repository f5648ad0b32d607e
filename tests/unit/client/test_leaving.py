"""A member that is told to end: what is at hand is sent first, if anybody is there to take it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest

from umbel import Update
from umbel.cli.stopping import STOPPED, until_stopped

from .fakes import Adding, FakeServer, member

LONG = 60.0


class Waiting(Adding):
    """Its first step ends when the session says stop, or never if it does not listen."""

    def __init__(self, listens=True):
        self.started = threading.Event()
        self.release = threading.Event()
        self.listens = listens

    def fit(self, parameters, ctx):
        for _ in ctx.steps([None] * 4):
            self.started.set()
            while not self.release.wait(0.001) and not (self.listens and ctx.should_stop):
                pass
            parameters["w"] += np.float32(1)
        return Update(parameters)


@pytest.fixture
def server():
    return FakeServer({"w": np.zeros(3, np.float32)})


@asynccontextmanager
async def training(app, server, state, **task):
    """(member, its session), in the middle of round 1."""
    taking_part = member(app, server, state)
    running = asyncio.ensure_future(taking_part.run())
    try:
        async with asyncio.timeout(LONG):
            session = await server.joined()
            session.say(server.task(1, **task))
            assert await asyncio.to_thread(app.started.wait, 30)
            yield taking_part, session
    finally:
        app.release.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_was_done_is_sent(server, tmp_path):
    async with training(Waiting(), server, tmp_path) as (leaving, _):
        await leaving.leave(LONG)
        header, update = server.updates.get_nowait()
    assert (header.steps_done, header.steps_planned) == (1, 4)
    np.testing.assert_array_equal(update["w"], [1, 1, 1])


async def test_no_other_task_is_begun(server, tmp_path):
    async with training(Waiting(), server, tmp_path) as (leaving, session):
        await leaving.leave(LONG)
        session.say(server.task(2))
        session.say(server.finished())  # heard after it
        while (await session.heard()).WhichOneof("kind") != "stored":
            pass
    assert server.updates.qsize() == 1


async def test_where_partial_work_is_refused_training_may_still_end_in_time(server, tmp_path):
    app = Waiting()
    async with training(app, server, tmp_path, accepts_partial=False) as (leaving, _):
        waiting = asyncio.ensure_future(leaving.leave(LONG))
        app.release.set()
        await waiting
        header, _ = server.updates.get_nowait()
    assert header.steps_done == 4


async def test_code_that_does_not_listen_is_not_waited_for_longer_than_asked(server, tmp_path):
    async with training(Waiting(listens=False), server, tmp_path) as (leaving, _):
        await leaving.leave(0.01)
        assert server.updates.empty()


async def test_nobody_waits_for_a_server_that_is_gone(server, tmp_path):
    async with training(Waiting(listens=False), server, tmp_path) as (leaving, session):
        session.break_off()
        await server.sessions.get()  # it has dialled again, in vain
        await leaving.leave(LONG)


async def test_there_may_be_nothing_to_wait_for(server, tmp_path):
    taking_part = member(Adding(), server, tmp_path)
    await taking_part.leave(LONG)
    running = asyncio.ensure_future(taking_part.run())
    async with asyncio.timeout(LONG):
        await server.joined()
        await taking_part.leave(LONG)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# ---- signals


async def stopped_by(number, leave=None):
    async def work():
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    async with asyncio.timeout(LONG):
        return await until_stopped(work(), leave)


async def test_a_signal_ends_what_runs():
    assert await stopped_by(signal.SIGTERM) == STOPPED


async def test_a_second_term_does_not_cut_the_leaving_short():
    """A scheduler sends several."""
    calls = []

    async def leave():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(calls.append, "left")  # longer than it takes to hear a signal
        await asyncio.sleep(0)
        calls.append("done")

    assert await stopped_by(signal.SIGTERM, leave) == STOPPED
    assert calls == ["left", "done"]


async def test_a_second_int_does():
    async def leave():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    assert await stopped_by(signal.SIGINT, leave) == STOPPED


async def test_work_that_ends_while_it_is_left_has_ended():
    let = asyncio.Event()

    async def leave():
        let.set()
        await asyncio.Event().wait()

    running = asyncio.ensure_future(until_stopped(let.wait(), leave))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(LONG):
        assert await running == 0
