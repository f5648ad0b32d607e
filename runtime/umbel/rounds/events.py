"""What happens to a job: the only things that the round engine ever hears.

Every event carries facts that its sender has already checked for form; what they mean for the round is the
engine's decision. Time is never in an event: it is the second argument of ``Engine.handle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Joined:
    """A silo's session said how many examples it holds and can take tasks from now on.

    ``session`` is a number of the server's, larger for every newer session; the newest of a silo stays.
    """

    silo: str
    session: int
    examples: int


@dataclass(frozen=True, slots=True)
class Declared:
    """A connected silo's number of examples changed; it counts from the next opening."""

    silo: str
    session: int
    examples: int


@dataclass(frozen=True, slots=True)
class Left:
    """The stream of a session ended, for whatever reason."""

    silo: str
    session: int


@dataclass(frozen=True, slots=True)
class UpdateArrived:
    """A whole update is in memory and passed every check that needs only its bytes.

    The engine answers in the same call with `Fold` or `Reject`, exactly one of them.
    ``norm`` is the 2-norm of its trained part; ``scalars`` what the strategy and the job's metrics named.
    """

    silo: str
    epoch: int
    round: int
    attempt: int
    steps_done: int
    steps_planned: int
    gradients: bool
    norm: float
    scalars: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class UpdateSpoiled:
    """An upload was refused for its bytes (``reason``, a name of the wire's RejectReason): this silo's part of the
    attempt is over, unless the reason says that the transfer, not the silo, was at fault (TRUNCATED)."""

    silo: str
    round: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Declined:
    """A silo does not take part in a task, or broke off."""

    silo: str
    round: int
    attempt: int
    evaluation: bool
    reason: str


@dataclass(frozen=True, slots=True)
class EvaluationArrived:
    """A silo evaluated the round's model. Answered with `CountEvaluation` or `Reject`."""

    silo: str
    epoch: int
    round: int
    attempt: int
    examples: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Committed:
    """Answer to `Commit`: the new model is made and its checkpoint is on disk."""

    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """Answer to `Commit`: no new model. ``reason`` NotFinite (the model diverged) or CheckpointFailed (disk)."""

    round: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Answer to `CloseEvaluation`: the released (floored, clipped) evaluation metrics, by name; empty if withheld."""

    round: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """Who belongs to the job now (the operator's word, or the manifest's silos)."""

    silos: frozenset[str]


@dataclass(frozen=True, slots=True)
class QueuedChanged:
    """Who of the members waits in the queue of his site (the operator's word), and comes when that has him start. A
    session says otherwise, and is believed."""

    silos: frozenset[str]


@dataclass(frozen=True, slots=True)
class TotalChanged:
    """``spec.rounds.total`` was edited while the job runs."""

    total: int


@dataclass(frozen=True, slots=True)
class CohortChanged:
    """``spec.silos`` was edited while the job runs, and with it what is computed from their number."""

    updates: int
    quorum: int


@dataclass(frozen=True, slots=True)
class DeadlineChanged:
    """``spec.activeDeadlineSeconds`` was edited while the job runs."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Suspended:
    pass


@dataclass(frozen=True, slots=True)
class Resumed:
    pass


@dataclass(frozen=True, slots=True)
class CannotContinue:
    """The surroundings gave up: fewer silos can ever be live than the quorum, or the operator cancels the job."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened but time; sent at ``Engine.wake_at`` at the latest."""


Event = (
    Joined
    | Declared
    | Left
    | UpdateArrived
    | UpdateSpoiled
    | Declined
    | EvaluationArrived
    | Committed
    | CommitFailed
    | Evaluated
    | MembersChanged
    | QueuedChanged
    | TotalChanged
    | CohortChanged
    | DeadlineChanged
    | Suspended
    | Resumed
    | CannotContinue
    | Tick
)
Edit = TotalChanged | CohortChanged | DeadlineChanged | Suspended | Resumed
