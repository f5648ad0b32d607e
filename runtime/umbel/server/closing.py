"""What takes time in a round: arithmetic, disk, release. One step after the other, each answering with an event.

The order within a step is the promise: floors before the checkpoint, the checkpoint before the evaluation, the state
file before anything is published.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.release import Reducer, Releaser
from umbel.aggregation.round import RoundAggregation
from umbel.aggregation.strategy import RoundStart, Strategy, UpdateFacts
from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.server.board import Board
from umbel.server.checkpoint import CheckpointError, CheckpointStore
from umbel.server.models import ModelStore
from umbel.server.records import RoundRecord, Stopwatch

SAVE_PAUSES = (0.0, 0.5, 2.0)  # seconds before each try to write the state file

Snapshot = dict[str, Any]
T = TypeVar("T")


class Closing:
    def __init__(
        self,
        *,
        job: FederatedJob,
        strategy: Strategy,
        aggregation: RoundAggregation,
        releaser: Releaser,
        models: ModelStore,
        store: CheckpointStore,
        board: Board,
        thread: ThreadPoolExecutor,
    ) -> None:
        self.strategy = strategy
        self.models = models
        self._job = job
        self._aggregation = aggregation
        self._releaser = releaser
        self._store = store
        self._board = board
        self._thread = thread
        self._watch = Stopwatch()
        self._record: RoundRecord | None = None  # of the open attempt, or of the round that awaits its release
        self._training = releaser.reducer()
        self._evaluation = releaser.reducer()

    @property
    def digest(self) -> str:
        return self.models.digest

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # ---- within a round: at once

    def open_round(self, action: do.OpenRound) -> None:
        record = RoundRecord(action.round, action.attempt, started=time.time())
        record.seconds["gather"] = self._watch.lap()
        self._record = record
        self._training = self._releaser.reducer()
        examples = sum(action.cohort.values())
        start = RoundStart(action.round, len(action.cohort), examples, action.planned_steps)
        self._thread.submit(self._aggregation.open, start).add_done_callback(_expect)

    def fold(
        self, action: do.Fold, event: ev.UpdateArrived, update: NDArray[np.uint8], residence: float
    ) -> Future[None]:
        facts = UpdateFacts(action.examples, event.steps_done, event.steps_planned, event.norm, event.scalars)
        self._training.add(action.examples, event.scalars)
        self._board.note_residence(residence)
        return self._thread.submit(self._aggregation.fold, update, facts, action.rescale, event.gradients)

    def open_evaluation(self) -> None:
        self._evaluation = self._releaser.reducer()
        self._watch.restart()

    def count_evaluation(self, event: ev.EvaluationArrived) -> None:
        self._evaluation.add(event.examples, event.metrics)

    # ---- the steps

    async def commit(self, action: do.Commit, after: Snapshot) -> ev.Event:
        """Aggregate, apply the floors, checkpoint, and serve the new model."""
        record = self._taken(action, "Committed", "")
        record.seconds["train"] = self._watch.lap()
        outcome = await self._in_thread(self._aggregation.finish, self.models.buffer, self.models.buffer)
        released = self._releaser.release("train", action.round, self._training)
        record.train, record.examples = released.values, released.examples
        record.update_norm = outcome.update_norm if released.examples is not None else None
        record.withhold(released.withheld)
        record.seconds["close"] = self._watch.lap()
        if not outcome.finite:
            await self._back_to_checkpoint()
            return ev.CommitFailed(action.round, action.attempt, "NotFinite")
        try:
            await self._checkpoint(action.round, after, record)
        except CheckpointError as error:
            self._board.checkpoint_failed(error.reason)
            await self._back_to_checkpoint()
            return ev.CommitFailed(action.round, action.attempt, "CheckpointFailed")
        record.seconds["checkpoint"] = self._watch.lap()
        await self.models.publish(action.round, self._thread)
        return ev.Committed(action.round, action.attempt)

    def _taken(self, action: do.Commit | do.Abandon, outcome: str, reason: str) -> RoundRecord:
        assert self._record is not None, "only an open round closes"
        self._record.outcome, self._record.reason, self._record.counts = outcome, reason, action.outcomes
        return self._record

    async def _checkpoint(self, round: int, engine: Snapshot, record: RoundRecord | None) -> None:
        state = self._board.state(engine, pending=record)
        arrays = self.strategy.state()
        info = await self._in_thread(
            self._store.save, round, self.models.buffer, self.models.layout, arrays, state
        )
        self._board.checkpointed(round, info)

    async def _back_to_checkpoint(self) -> None:
        """Undo a step that came to nothing: model and strategy as they were on disk."""
        loaded = await self._in_thread(self._store.load)
        assert loaded is not None, "the model of version 0 is on disk before the first round"
        self.models.buffer[:] = loaded.model
        self.strategy.restore(loaded.strategy_state)

    async def abandon(self, action: do.Abandon, state: Snapshot) -> None:
        record = self._taken(action, "Abandoned", action.reason)
        record.seconds["train"] = record.seconds["train"] or self._watch.lap()
        record.train, record.examples, record.update_norm = {}, None, None
        await self._in_thread(self._aggregation.discard)
        self._record = None
        await self._publish(record, state)

    async def close_evaluation(self, action: do.CloseEvaluation) -> ev.Event:
        record = self._released_record(action.round)
        released = self._releaser.release("evaluate", action.round, self._evaluation)
        record.evaluate = released.values
        record.withhold(released.withheld)
        record.seconds["evaluate"] = self._watch.lap()
        return ev.Evaluated(action.round, released.values)

    def _released_record(self, round: int) -> RoundRecord:
        """The round's record; a fresh one for the initial model, which no training round made."""
        if self._record is None or self._record.round != round:
            self._record = RoundRecord(round, 0, time.time(), outcome="Committed")
        return self._record

    async def release(self, action: do.Release, state: Snapshot) -> None:
        record, self._record = self._released_record(action.round), None
        await self._publish(record, state)
        self._watch.restart()

    async def _publish(self, record: RoundRecord, engine: Snapshot) -> None:
        """State file first: what is published twice would say more than what is published once."""
        self._board.add(record)
        if not await self._save(engine):
            record.unrecorded()
        self._board.publish(record)

    async def save_state(self, engine: Snapshot) -> None:
        await self._save(engine)

    async def _save(self, engine: Snapshot) -> bool:
        """Whether the state is on disk; a full disk is given a few seconds."""
        state = self._board.state(engine, pending=self._record)
        for pause in SAVE_PAUSES:
            await asyncio.sleep(pause)
            try:
                await self._in_thread(self._store.update_state, state)
            except CheckpointError as error:
                self._board.checkpoint_failed(error.reason)
            else:
                return True
        return False
