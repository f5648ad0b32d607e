"""What takes time in a round: arithmetic, disk, release. One step after the other, each answering with an event.

The order within a step is the promise: floors before the checkpoint, the checkpoint before the evaluation, the state
file before anything is published.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.release import Releaser
from umbel.aggregation.round import Outcome, RoundAggregation
from umbel.aggregation.strategy import RoundStart, Strategy, UpdateFacts
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.server.board import Board
from umbel.server.checkpoint import CheckpointError, CheckpointStore
from umbel.server.models import ModelStore
from umbel.server.records import RoundRecord
from umbel.server.traffic import Traffic

SAVE_PAUSES = (0.0, 0.5, 2.0)  # seconds before each try to write the state file

Snapshot = dict[str, Any]
T = TypeVar("T")


class Closing:
    """``pending``: the record of a round that an earlier process committed and did not release."""

    def __init__(
        self,
        *,
        aggregation: RoundAggregation,
        releaser: Releaser,
        models: ModelStore,
        store: CheckpointStore,
        board: Board,
        traffic: Traffic,
        thread: ThreadPoolExecutor,
        buffered: Callable[[], int],
        pending: RoundRecord | None,
    ) -> None:
        self.models = models
        self._aggregation = aggregation
        self._releaser = releaser
        self._store = store
        self._board = board
        self._traffic = traffic
        self._thread = thread
        self._buffered = buffered
        self._idle_since = time.monotonic()
        self._cohort: Mapping[str, int] = {}
        self._open: RoundRecord | None = None  # of the attempt that was opened last
        self._sending: RoundRecord | None = None  # of the attempt whose tasks are being sent
        self._committed = pending  # of the round that awaits its release
        self._training = releaser.reducer()
        self._evaluation = releaser.reducer()

    @property
    def strategy(self) -> Strategy:
        return self._aggregation.strategy

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # ---- within a round: at once

    def open_round(self, action: do.OpenRound) -> None:
        self._open = RoundRecord(action.round, action.attempt, started=time.time())
        self._sending = self._open
        self._board.training_opened()
        self._cohort = action.cohort
        self._open.seconds["gather"] = self._open.mark - self._idle_since
        self._training = self._releaser.reducer()
        examples = sum(action.cohort.values())
        start = RoundStart(action.round, len(action.cohort), examples, action.planned_steps)
        self._thread.submit(self._aggregation.open, start)

    def tasks_sent(self) -> None:
        """All that an opening sends has been sent; later ones, to who comes back, are no part of it."""
        if self._sending is not None:
            self._sending.broadcast = time.monotonic() - self._sending.mark
            self._sending = None

    def fold(
        self, action: do.Fold, event: ev.UpdateArrived, update: NDArray[np.uint8], residence: float
    ) -> Future[None]:
        facts = _facts(action.examples, event)
        metrics = {name: value for name, value in event.scalars.items() if name not in self.strategy.scalars}
        self._training.add(action.examples, metrics)
        self._traffic.residences.append(residence)
        return self._thread.submit(self._aggregation.fold, update, facts, action.rescale)

    def refusal(self, event: ev.UpdateArrived) -> str | None:
        """Asked before the engine hears of an update: what it has accepted is always folded."""
        facts = _facts(self._cohort.get(event.silo, 1), event)
        return "MISSING_SCALAR" if self._aggregation.refusal(facts) else None

    def discard(self) -> None:
        """An attempt is abandoned: what it has summed up may be one silo's update, and goes at once."""
        self._thread.submit(self._aggregation.discard)

    def open_evaluation(self) -> None:
        self._board.evaluation_opened()
        self._evaluation = self._releaser.reducer()

    def count_evaluation(self, event: ev.EvaluationArrived) -> None:
        self._evaluation.add(event.examples, event.metrics)

    # ---- the steps

    def close_round(self, action: do.Commit | do.Abandon) -> RoundRecord:
        """The record of the attempt that closes, to be handed to `commit` or `abandon`."""
        assert self._open is not None, "only an open round closes"
        record = self._open
        record.counts = action.outcomes
        if record.seconds["train"] == 0.0:  # else this is the end of a commit that failed
            record.lap("train")
        return record

    def leave_round(self) -> Traffic:
        """What passed the wire up to now is the round's, to be handed to `release` or `abandon`; what comes is the
        next one's, and so is the time."""
        self._idle_since = time.monotonic()
        return self._traffic.take()

    async def commit(self, action: do.Commit, record: RoundRecord, after: Snapshot) -> ev.Event:
        """Aggregate, apply the floors, checkpoint, and serve the new model."""
        outcome = await self._in_thread(self._aggregation.finish, self.models.buffer, self.models.buffer)
        record.lap("close")
        if outcome.members != action.outcomes.full + action.outcomes.partial:
            # An update was counted and its fold raised: this sum is not the one that the engine decided on. A new
            # process starts from the checkpoint.
            raise AssertionError("the sum holds other updates than the round")
        if not outcome.finite:
            return await self._undo(action, "NotFinite")
        record.outcome = "Committed"
        self._reduce_training(record, outcome)
        # Serialised while it is written: nobody asks for the new version before Committed.
        publishing = asyncio.ensure_future(self.models.publish(action.round))
        try:
            await self._checkpoint(action.round, after, record)
        except CheckpointError as error:
            self._board.checkpoint_failed(error.reason)
            self._releaser.take_back("train", action.round, record.train)
            await publishing
            return await self._undo(action, "CheckpointFailed")
        self._committed = record
        await publishing
        record.lap("checkpoint")
        return ev.Committed(action.round, action.attempt)

    def _reduce_training(self, record: RoundRecord, outcome: Outcome) -> None:
        released = self._releaser.release("train", record.round, self._training)
        record.train, record.examples = released.values, released.examples
        record.update_norm = outcome.update_norm if released.examples is not None else None
        record.withhold(released.withheld)

    async def _checkpoint(self, round: int, engine: Snapshot, record: RoundRecord | None) -> None:
        state = self._board.state(engine, pending=record)
        arguments = (round, self.models.buffer, self.models.layout, self.strategy.state(), state)
        self._board.checkpointed(await self._in_thread(self._store.save, *arguments))

    async def first_checkpoint(self, engine: Snapshot) -> None:
        """The model of version 0, before anything else. Raises CheckpointError."""
        await self._checkpoint(0, engine, None)

    async def _undo(self, action: do.Commit, reason: str) -> ev.Event:
        """A step that came to nothing: model and strategy as they were on disk."""
        loaded = await self._in_thread(self._store.load)
        assert loaded is not None, "the model of version 0 is on disk before the first round"
        self.models.buffer[:] = loaded.model
        self.strategy.restore(loaded.strategy_state)
        if self.models.version != loaded.info.round:
            await self.models.publish(loaded.info.round)
        return ev.CommitFailed(action.round, action.attempt, reason)

    async def abandon(self, action: do.Abandon, record: RoundRecord, traffic: Traffic, state: Snapshot) -> None:
        record.outcome, record.reason = "Abandoned", action.reason
        record.train, record.examples, record.update_norm = {}, None, None
        await self._publish(record, traffic, state)

    async def close_evaluation(self, action: do.CloseEvaluation) -> ev.Event:
        record = self._awaiting_release(action.round)
        released = self._releaser.release("evaluate", action.round, self._evaluation)
        record.evaluate = released.values
        record.withhold(released.withheld)
        record.lap("evaluate")
        return ev.Evaluated(action.round, released.values)

    def _awaiting_release(self, round: int) -> RoundRecord:
        """The round's record; a fresh one for the initial model, which no training round made."""
        if self._committed is None or self._committed.round != round:
            self._committed = RoundRecord(round, 0, time.time(), outcome="Committed")
        return self._committed

    async def release(self, action: do.Release, traffic: Traffic, state: Snapshot) -> None:
        record, self._committed = self._awaiting_release(action.round), None
        await self._publish(record, traffic, state)

    async def _publish(self, record: RoundRecord, traffic: Traffic, engine: Snapshot) -> None:
        """State file first: what is published twice would say more than what is published once."""
        self._board.add(record, traffic)
        if not await self.save_state(engine):
            self._board.withdraw(record)
        record.lap("release")
        self._board.publish(record, traffic, self._buffered())

    async def save_state(self, engine: Snapshot) -> bool:
        """Whether the state is on disk; a full disk is given a few seconds."""
        state = self._board.state(engine, pending=self._committed)
        for pause in SAVE_PAUSES:
            await asyncio.sleep(pause)
            try:
                await self._in_thread(self._store.update_state, state)
            except CheckpointError as error:
                self._board.checkpoint_failed(error.reason)
            else:
                return True
        return False


def _facts(examples: int, event: ev.UpdateArrived) -> UpdateFacts:
    return UpdateFacts(examples, event.steps_done, event.steps_planned, event.norm, event.scalars)
