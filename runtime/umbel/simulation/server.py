"""The server without its IO: the real engine, the real sums, an in-memory disk, and steps that can be interrupted.

What is quick is done at once and in the order of the list; what waits for the disk is queued, with the state to be
written captured when the action was given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds.engine import Engine
from umbel.simulation.disk import Bytes, Disk, DiskFull
from umbel.simulation.setting import Setting, Sums
from umbel.simulation.witness import Witness

Message = do.SendTask | do.SendWrapUp | do.SendCancel | do.EndSession | do.Finish
Ack = tuple[str, str]


class ServerCrash(Exception):
    """The process is gone; what was on disk remains."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One PutUpdate: its header and its bytes."""

    silo: str
    epoch: int
    round: int
    attempt: int
    steps_done: int
    steps_planned: int
    update: Bytes
    loss: float


class SimulatedServer:
    """``danger`` is called before each effect and may raise ServerCrash; ``deliver`` hands a message to its member."""

    def __init__(
        self,
        setting: Setting,
        disk: Disk,
        witness: Witness,
        *,
        epoch: int,
        clock: Callable[[], float],
        danger: Callable[[], None],
        deliver: Callable[[Message], None],
    ) -> None:
        self.finished = False
        self._setting = setting
        self._disk = disk
        self._witness = witness
        self._clock = clock
        self._danger = danger
        self._deliver = deliver
        self._model = disk.model.copy()
        self._sums = Sums(setting, disk.arrays)
        self._releaser = setting.releaser()
        for record in disk.history:
            self._releaser.remember("evaluate", record["round"], record["evaluate"])
        self._training = self._releaser.reducer()
        self._evaluation = self._releaser.reducer()
        self._evaluated: dict[str, float] = {}  # released with the round
        self._queue: deque[tuple[do.Action, dict[str, Any]]] = deque()
        self._openings = 0
        self._folds = 0
        self._ack: Ack | None = None
        snapshot = disk.snapshot()
        self.engine = Engine(setting.job, epoch=epoch, snapshot=snapshot, members=None, now=clock())
        witness.restarted(disk.version, self._model, snapshot["committed"] if snapshot else 0)

    # ---- what members do

    def put_update(self, upload: Upload) -> Ack:
        """As the wire's PutUpdate: token, then values, then the engine."""
        before, openings, folds = self._sums.image(), self._openings, self._folds
        ack = self._judge(upload)
        if self._openings > openings:
            return ack  # this answer closed an attempt, and the next one has begun with empty sums
        if ack[0] == "ACCEPTED":
            self._witness.accepted(upload.silo)
        if self._folds == folds:
            self._witness.refused(before, self._sums.image())
        return ack

    def _judge(self, upload: Upload) -> Ack:
        verdict = self.engine.check_upload(upload.silo, upload.epoch, upload.round, upload.attempt)
        if verdict is not None:
            return verdict
        examined = self._setting.examine(upload.update)
        if examined.fault is not None:
            self.feed(ev.UpdateSpoiled(upload.silo, upload.round, upload.attempt, examined.fault))
            return "REJECTED", examined.fault
        token = (upload.epoch, upload.round, upload.attempt)
        steps = (upload.steps_done, upload.steps_planned)
        scalars = {"loss": upload.loss}
        return self._ask(ev.UpdateArrived(upload.silo, *token, *steps, False, examined.norm, scalars), upload.update)

    def put_evaluation(self, event: ev.EvaluationArrived) -> Ack:
        return self._ask(event, None)

    def _ask(self, event: ev.UpdateArrived | ev.EvaluationArrived, update: Bytes | None) -> Ack:
        self._ack = None
        self.feed(event, update)
        assert self._ack is not None, "the engine answers every arrival"
        return self._ack

    # ---- the engine's actions

    def feed(self, event: ev.Event, update: Bytes | None = None) -> None:
        for action in self.engine.handle(event, self._clock()):
            self._danger()
            self._perform(action, event, update)

    def _perform(self, action: do.Action, event: ev.Event, update: Bytes | None) -> None:
        match action:
            case do.OpenRound():
                self._witness.opened(action, self._model)
                self._openings += 1
                self._sums.open(action)
                self._training = self._releaser.reducer()
            case do.Fold():
                assert isinstance(event, ev.UpdateArrived)
                assert update is not None
                self._ack = "ACCEPTED", ""
                self._folds += 1
                self._witness.folded(action, update)
                self._sums.fold(action, event, update)
                self._training.add(action.examples, event.scalars)
            case do.Reject():
                self._ack = action.code, action.reason
            case do.CountEvaluation():
                assert isinstance(event, ev.EvaluationArrived)
                self._ack = "ACCEPTED", ""
                self._witness.counted(event.silo, event.examples)
                self._evaluation.add(event.examples, event.metrics)
            case do.OpenEvaluation():
                self._witness.evaluating()
                self._evaluation = self._releaser.reducer()
            case do.Abandon():
                self._witness.abandoned(self._model)
                self._witness.progressed(self._clock())
                self._queue.append((action, self.engine.snapshot()))
            case do.Commit():
                self._queue.append((action, self.engine.snapshot_after_commit()))
            case do.CloseEvaluation() | do.Release() | do.SaveState() | do.Finish():
                self._queue.append((action, self.engine.snapshot()))
            case do.SendTask() | do.SendWrapUp() | do.SendCancel() | do.EndSession():
                self._deliver(action)

    # ---- what waits for the disk

    @property
    def has_work(self) -> bool:
        return bool(self._queue)

    def work(self) -> None:
        """One queued step, and its answer to the engine."""
        action, state = self._queue.popleft()
        self._danger()
        match action:
            case do.Commit():
                self._commit(action, state)
            case do.CloseEvaluation():
                self._evaluated = self._releaser.release("evaluate", action.round, self._evaluation).values
                self._witness.evaluation_released(self._evaluated)
                self.feed(ev.Evaluated(action.round, self._evaluated))
            case do.Release():
                record = {"round": action.round, "evaluate": self._evaluated}
                self._evaluated = {}
                self._write(state, record)
                self._witness.released(record)
                self._witness.progressed(self._clock())
            case do.Finish():
                self._write(state)
                self._danger()
                self._witness.ended(action.outcome)
                self.finished = True
                self._deliver(action)
            case _:
                self._write(state)

    def _write(self, state: dict[str, Any], record: dict[str, Any] | None = None) -> None:
        self._disk.update(state, record)
        self._witness.written(state["committed"])

    def _commit(self, action: do.Commit, after: dict[str, Any]) -> None:
        self._witness.closing(action.round)
        finite = self._sums.finish(self._model)
        if finite:
            self._witness.aggregated(self._model)
            self._witness.training_released(self._releaser.release("train", action.round, self._training).values)
        self._danger()
        try:
            if finite:
                self._disk.checkpoint(action.round, self._model, self._sums.state(), after)
        except DiskFull:
            self._model = self._disk.model.copy()
            self._sums.restore(self._disk.arrays)
            self.feed(ev.CommitFailed(action.round, action.attempt, "CheckpointFailed"))
            return
        if not finite:
            self._model = self._disk.model.copy()
            self.feed(ev.CommitFailed(action.round, action.attempt, "NotFinite"))
            return
        self._witness.durable(action.round, self._model)
        self._witness.progressed(self._clock())
        self._danger()
        self.feed(ev.Committed(action.round, action.attempt))
