"""A session of a silo that may not be eligible: tasks declined before they begin, or given up in the middle."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from umbel import Evaluation, Update
from umbel.client.eligibility.guard import Guard
from umbel.wire import umbel_pb2 as pb

from .fakes import EAGER, Adding, FakeServer, FakeSession, member

WHY = "no window is open (Mon 12:00 UTC)"


class Rules:
    """What the test says speaks against taking part."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.asked = 0

    def __call__(self) -> str | None:
        self.asked += 1
        return self.reason


class Working(Adding):
    """Says when its first step, or its evaluation, has begun, and goes on until it is told to stop or let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.calls = 0

    def _work(self, ctx) -> None:
        self.calls += 1
        self.started.set()
        while not self.gate.wait(0.001) and not ctx.should_stop:
            pass

    def fit(self, parameters, ctx):
        for number, _ in enumerate(ctx.steps([None] * 4)):
            parameters["w"] += np.float32(1)
            if number == 0:
                self._work(ctx)
        self.ended.set()
        return Update(parameters)

    def evaluate(self, parameters, ctx):
        self._work(ctx)
        return Evaluation(4, {})


class Deaf(Working):
    """Does not stop when it is told to."""

    def _work(self, ctx) -> None:
        self.calls += 1
        self.started.set()
        assert self.gate.wait(60)


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 60)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer({"w": np.arange(3, dtype=np.float32)})


@pytest.fixture
def rules() -> Rules:
    return Rules()


@asynccontextmanager
async def joined(
    app: Adding, server: FakeServer, state: Path, rules: Rules, *, partial: bool = True
) -> AsyncIterator[FakeSession]:
    guard = Guard(rules, partial=partial, every=0.001)
    task = asyncio.ensure_future(member(app, server, state, EAGER, guard).run())
    try:
        async with asyncio.timeout(60):
            yield await server.joined()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def declined(session: FakeSession, phase: int = pb.TRAIN, round_: int = 1) -> None:
    message = await session.heard()
    assert message.WhichOneof("kind") == "decline", message
    it = message.decline
    assert (it.round, it.attempt, it.phase, it.reason) == (round_, 1, phase, pb.DECLINE_NOT_ELIGIBLE)


# ---- before a task


@pytest.mark.parametrize("phase", [pb.TRAIN, pb.EVALUATE])
async def test_a_task_is_declined_without_a_call_or_a_fetch(server, rules, tmp_path, caplog, phase):
    caplog.set_level(logging.INFO, logger="umbel.client")
    app = Working()
    rules.reason = WHY
    async with joined(app, server, tmp_path, rules) as session:
        session.say(server.task(1, phase=phase))
        await declined(session, phase)
    assert (app.calls, server.fetches) == (0, 0)
    assert WHY in caplog.text


async def test_the_reason_in_words_never_leaves(server, rules, tmp_path):
    rules.reason = WHY
    async with joined(Working(), server, tmp_path, rules) as session:
        session.say(server.task(1))
        await declined(session)
    assert WHY.encode() not in server.sent


async def test_an_eligible_silo_trains(server, rules, tmp_path):
    async with joined(Adding(), server, tmp_path, rules) as session:
        session.say(server.task(1))
        header, _ = await server.updates.get()
    assert (header.steps_done, header.steps_planned) == (2, 2)
    assert rules.asked >= 1


async def test_it_declares_again_as_soon_as_it_is_eligible_and_then_trains(server, rules, tmp_path):
    rules.reason = WHY
    async with joined(Adding(), server, tmp_path, rules) as session:
        session.say(server.task(1))
        await declined(session)
        asked = rules.asked
        while rules.asked < asked + 3:  # noqa: ASYNC110 - asked in a thread
            await asyncio.sleep(0)
        assert session.silent
        rules.reason = None
        assert (await session.heard()).declare.num_examples == 5
        session.say(server.task(2))
        assert (await server.updates.get())[0].round == 2


async def test_one_that_declines_again_and_again_declares_once(server, rules, tmp_path):
    rules.reason = WHY
    async with joined(Adding(), server, tmp_path, rules) as session:
        for round_ in (1, 2, 3):
            session.say(server.task(round_))
            await declined(session, round_=round_)
        rules.reason = None
        assert (await session.heard()).WhichOneof("kind") == "declare"
        session.say(server.task(4))
        assert (await server.updates.get())[0].round == 4
        assert session.silent


async def test_the_final_model_is_stored_by_a_silo_that_is_not_eligible(server, rules, tmp_path):
    rules.reason = WHY
    async with joined(Adding(), server, tmp_path, rules) as session:
        session.say(server.finished())
        assert (await session.heard()).WhichOneof("kind") == "stored"
    assert (tmp_path / "model.safetensors").exists()


# ---- in the middle of a round


async def test_what_is_done_is_sent(server, rules, tmp_path, caplog):
    app = Working()
    async with joined(app, server, tmp_path, rules) as session:
        session.say(server.task(1))
        await reached(app.started)
        rules.reason = WHY
        header, update = await server.updates.get()
        session.say(server.task(2))
        await declined(session, round_=2)
    assert (header.steps_done, header.steps_planned) == (1, 4)
    np.testing.assert_array_equal(update["w"], [1, 1, 1])
    assert f"not eligible any more: {WHY}; what is done is sent" in caplog.text


async def test_or_it_is_declined_as_the_site_says(server, rules, tmp_path, caplog):
    app = Working()
    async with joined(app, server, tmp_path, rules, partial=False) as session:
        session.say(server.task(1))
        await reached(app.started)
        rules.reason = WHY
        await declined(session)
        await reached(app.ended)
    assert server.updates.empty()
    assert f"not eligible any more: {WHY}; the task is declined" in caplog.text


async def test_a_job_that_takes_no_partial_updates_gets_none(server, rules, tmp_path):
    app = Working()
    async with joined(app, server, tmp_path, rules) as session:
        session.say(server.task(1, accepts_partial=False))
        await reached(app.started)
        rules.reason = WHY
        await declined(session)
        await reached(app.ended)
    assert server.updates.empty()


async def test_an_evaluation_is_declined(server, rules, tmp_path):
    app = Working()
    async with joined(app, server, tmp_path, rules) as session:
        session.say(server.task(1, phase=pb.EVALUATE))
        await reached(app.started)
        rules.reason = WHY
        await declined(session, pb.EVALUATE)
    assert server.evaluations.empty()


async def test_code_that_does_not_stop_keeps_nobody_waiting_for_the_decline(server, rules, tmp_path):
    """Its result is not sent later; the next task waits for it to end."""
    app = Deaf()
    async with joined(app, server, tmp_path, rules, partial=False) as session:
        session.say(server.task(1))
        await reached(app.started)
        rules.reason = WHY
        await declined(session)
        rules.reason = None
        assert (await session.heard()).WhichOneof("kind") == "declare"
        session.say(server.task(2))
        app.gate.set()
        header, _ = await server.updates.get()
    assert header.round == 2
    assert app.calls == 2
    assert server.updates.empty()


async def test_a_loss_before_the_first_step_sends_nothing(server, rules, tmp_path):
    class Slow(Working):
        def fit(self, parameters, ctx):
            batches = ctx.steps([None] * 4)
            self._work(ctx)
            return Update(parameters) if not list(batches) else None

    app = Slow()
    async with joined(app, server, tmp_path, rules) as session:
        session.say(server.task(1))
        await reached(app.started)
        rules.reason = WHY
        await declined(session)
    assert server.updates.empty()
