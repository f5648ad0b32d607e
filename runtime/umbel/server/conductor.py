"""The shell round the engine: feeds it events and carries out its actions, in order.

What is quick happens within `feed`, on the event loop. Arithmetic runs in one worker thread, so that a fold which the
engine ordered before a commit is done before it. What waits for disk or thread (commit, evaluation, release) is queued
and done one after the other; its answer is fed back as the next event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategy import Strategy
from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds.engine import Engine
from umbel.rounds.reasons import RELEASING
from umbel.rounds.view import View
from umbel.server import messages
from umbel.server.board import TERMINAL
from umbel.server.closing import Closing
from umbel.server.logs import Log
from umbel.server.models import ModelStore
from umbel.server.sessions import Channel, Sessions
from umbel.server.uploads import Uploads
from umbel.wire import umbel_pb2 as pb


@dataclass
class Arrival:
    """An update or an evaluation on its way through the engine, and what the engine made of it."""

    event: ev.UpdateArrived | ev.EvaluationArrived
    update: NDArray[np.uint8] | None = None
    residence: float = 0.0  # seconds since its first byte
    ack: pb.Ack | None = None
    fold: Future[None] | None = None


class Conductor:
    """Owns the order of things. Everything here runs on the event loop."""

    def __init__(
        self,
        job: FederatedJob,
        engine: Engine,
        closing: Closing,
        sessions: Sessions,
        uploads: Uploads,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.finished = asyncio.Event()
        self._job = job
        self._closing = closing
        self._sessions = sessions
        self._uploads = uploads
        self._log = log
        self._clock = clock
        self._work: asyncio.Queue[Callable[[], Awaitable[ev.Event | None]]] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        uploads.seconds_left = lambda: self.view().seconds_left or 0.0

    @property
    def strategy(self) -> Strategy:
        return self._closing.strategy

    @property
    def models(self) -> ModelStore:
        return self._closing.models

    def refusal(self, event: ev.UpdateArrived) -> str | None:
        """The wire's reason if the update rule would not take this update."""
        return self._closing.refusal(event)

    def view(self) -> View:
        """As the engine's; the end of the job shows once its last round is released and its state on disk."""
        view = self.engine.view(self._clock())
        ended = view.phase in TERMINAL and not self.finished.is_set()
        return replace(view, phase="Releasing", reason=RELEASING, message="") if ended else view

    async def run(self) -> None:
        """Do the queued work until the job has ended and its end is on disk; cancellation stops between two steps."""
        self.feed(ev.Tick())
        while not self.finished.is_set():
            step = await self._work.get()
            if (answer := await step()) is not None:
                self.feed(answer)

    def feed(self, event: ev.Event, arrival: Arrival | None = None) -> None:
        for action in self.engine.handle(event, self._clock()):
            self._perform(action, arrival)
        self._closing.tasks_sent()
        self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        wake = self.engine.wake_at
        self._timer = self._loop.call_at(wake, self.feed, ev.Tick()) if wake is not None else None

    def _perform(self, action: do.Action, arrival: Arrival | None) -> None:
        match action:
            case do.Fold() | do.Reject() | do.CountEvaluation():
                assert arrival is not None, "an arrival is answered in the call that reports it"
                self._answer(action, arrival)
            case do.OpenRound():
                self._closing.open_round(action)
            case do.SendTask():
                task = messages.task(action, self._job, self.engine.epoch, self.strategy, self.models.digest)
                self._sessions.send(action.session, task)
            case do.SendWrapUp():
                self._sessions.send(action.session, messages.wrap_up(action))
            case do.SendCancel():
                self._sessions.send(action.session, messages.cancel(action))
            case do.EndSession():
                self._sessions.end(action.session, messages.refused(action.reason))
            case do.OpenEvaluation():
                self._closing.open_evaluation()
            case _:
                self._queue(action)

    def _answer(self, action: do.Fold | do.Reject | do.CountEvaluation, arrival: Arrival) -> None:
        if isinstance(action, do.Reject):
            arrival.ack = messages.ack(action.code, action.reason)
            return
        arrival.ack = messages.ack("ACCEPTED")
        if isinstance(action, do.Fold):
            assert isinstance(arrival.event, ev.UpdateArrived)
            assert arrival.update is not None
            arrival.fold = self._closing.fold(action, arrival.event, arrival.update, arrival.residence)
        else:
            assert isinstance(arrival.event, ev.EvaluationArrived)
            self._closing.count_evaluation(arrival.event)

    def _queue(self, action: do.Action) -> None:
        """Slow work, with the state that is to be on disk afterwards captured now."""
        state = self.engine.snapshot()
        match action:
            case do.Commit():
                self._uploads.close_round()
                after = self.engine.snapshot_after_commit()
                record = self._closing.close_round(action)
                self._work.put_nowait(partial(self._closing.commit, action, record, after))
            case do.Abandon():
                self._uploads.close_round()
                self._closing.discard()
                record, traffic = self._closing.close_round(action), self._closing.leave_round()
                self._work.put_nowait(partial(self._closing.abandon, action, record, traffic, state))
            case do.CloseEvaluation():
                self._work.put_nowait(partial(self._closing.close_evaluation, action))
            case do.Release():
                traffic = self._closing.leave_round()
                self._work.put_nowait(partial(self._closing.release, action, traffic, state))
            case do.SaveState():
                self._work.put_nowait(partial(self._save, state))
            case do.Finish():
                self._work.put_nowait(partial(self._end, action, state))
            case _:
                raise AssertionError(f"unknown action {type(action).__name__}")

    async def _save(self, state: dict[str, object]) -> None:
        await self._closing.save_state(state)

    async def _end(self, action: do.Finish, state: dict[str, object]) -> None:
        await self._closing.save_state(state)
        self._log("finished", outcome=action.outcome, reason=action.reason, message=action.message)
        self._sessions.finish(self.farewell())
        self.finished.set()

    def farewell(self) -> pb.ServerMessage:
        """What every session hears once the job has ended."""
        view = self.engine.view(self._clock())
        return messages.finished(view.phase, view.reason, self.models.version, self.models.digest)

    def join(self, channel: Channel, examples: int) -> None:
        if self.finished.is_set():
            self._sessions.finish_one(channel, self.farewell())
        self.feed(ev.Joined(channel.silo, channel.number, examples))
