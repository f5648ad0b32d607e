"""One task of the server's and what became of it. It outlives the session that brought it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from umbel.client.steps import Progress
from umbel.wire import umbel_pb2 as pb


class Key(NamedTuple):
    """Two tasks with the same key are one."""

    phase: int
    epoch: int
    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to tell the server, as often as it takes: exactly one of the three."""

    update: pb.UpdateHeader | None = None
    evaluation: pb.Evaluation | None = None
    decline: pb.Decline | None = None


@dataclass(eq=False)
class Work:
    """``deadline``: on the event loop's clock. ``dropped``: nobody wants the result any more."""

    task: pb.Task
    deadline: float
    progress: Progress = field(default_factory=Progress)
    outcome: Outcome | None = None
    dropped: bool = False

    @property
    def key(self) -> Key:
        return Key(self.task.phase, self.task.epoch, self.task.round, self.task.attempt)

    @property
    def not_eligible(self) -> bool:
        """Declined for the silo's own rules of when it can take part."""
        decline = self.outcome.decline if self.outcome else None
        return decline is not None and decline.reason == pb.DECLINE_NOT_ELIGIBLE

    def is_for(self, phase: int, round_: int, attempt: int) -> bool:
        return self.key == (phase, self.task.epoch, round_, attempt)

    def wrap_up(self) -> None:
        """Stop training and send what there is; not if the job takes no partial updates: then going on may succeed."""
        if self.task.phase == pb.TRAIN and self.task.accepts_partial:
            self.progress.stop.set()

    def drop(self) -> None:
        self.dropped = True
        self.progress.stop.set()

    def declined(self, reason: pb.DeclineReason) -> Outcome:
        task = self.task
        return Outcome(decline=pb.Decline(round=task.round, attempt=task.attempt, phase=task.phase, reason=reason))
