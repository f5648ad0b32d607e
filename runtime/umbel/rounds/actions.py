"""What the round engine wants done, in the order of the list; the shell around it does nothing else.

Durations are seconds from the ``now`` of the call that returned the action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round's attempt begins: make a fresh accumulator. ``cohort`` is who is invited, with the examples that each
    declared; those numbers are the weights of this attempt whatever is declared later.

    ``planned_steps`` is the mean of what earlier updates planned (0: none seen yet); FedNova's cap uses it.
    """

    round: int
    attempt: int
    cohort: Mapping[str, int]
    planned_steps: float


@dataclass(frozen=True, slots=True)
class SendTask:
    """``evaluation`` False: train on the model of version round − 1. True: evaluate the model of version round."""

    silo: str
    session: int
    round: int
    attempt: int
    evaluation: bool
    seconds_left: float
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class SendWrapUp:
    silo: str
    session: int
    round: int
    attempt: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class SendCancel:
    silo: str
    session: int
    round: int
    attempt: int
    evaluation: bool


@dataclass(frozen=True, slots=True)
class EndSession:
    """``reason``: a name of the wire's RefusalReason (NOT_A_MEMBER, REPLACED)."""

    silo: str
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fold:
    """Add the update that just arrived. ``rescale`` multiplies its trained components (1.0 unless partial work is
    rescaled); ``examples`` is its declared weight at the opening."""

    silo: str
    round: int
    attempt: int
    examples: int
    rescale: float


@dataclass(frozen=True, slots=True)
class Reject:
    """Drop what just arrived, unchanged model. ``code`` ROUND_CLOSED or REJECTED, or ACCEPTED for the repeat of
    something already counted; ``reason`` a name of the wire's RejectReason or ''."""

    silo: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class CountEvaluation:
    silo: str
    round: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Close the accumulator into the model of version ``round``, checkpoint it, answer Committed or CommitFailed."""

    round: int
    attempt: int
    outcomes: RoundOutcomes


@dataclass(frozen=True, slots=True)
class Abandon:
    """Throw the accumulator away; the model stays. ``reason`` is one of `umbel.rounds.reasons.ABANDONED`. ``counted``:
    against maxConsecutiveAbandoned (a suspension, a lowered total or the end of the job is not).

    `OpenRound` of the next attempt may follow in the same list: what belongs to this one is to be set aside first."""

    round: int
    attempt: int
    reason: str
    counted: bool
    outcomes: RoundOutcomes


@dataclass(frozen=True, slots=True)
class OpenEvaluation:
    """The model of version ``round`` is being evaluated by ``cohort``."""

    round: int
    attempt: int
    cohort: frozenset[str]


@dataclass(frozen=True, slots=True)
class CloseEvaluation:
    """Reduce the counted evaluations to released metrics and answer Evaluated."""

    round: int


@dataclass(frozen=True, slots=True)
class Release:
    """Publish the round: everything buffered, in one step, after recording it in the state file.

    `OpenRound` of the next round may follow in the same list. ``round`` 0 is the initial model, of which only the
    evaluation is new; so it is with a round that is released again because a lowered total made it the last."""

    round: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Terminal. ``outcome`` Complete or Failed; ``reason`` is an exported constant of `umbel.rounds.reasons`."""

    outcome: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SaveState:
    """Persist ``Engine.snapshot()``: an attempt number, an edit or a count changed, or a minute has passed. Never comes
    while a `Commit` waits for its answer, and never with `Release` or `Finish`, which persist it themselves."""


@dataclass(frozen=True, slots=True)
class RoundOutcomes:
    """What became of the invitations of one attempt: counts, no names. ``queued``: how many of the lost have fallen
    back into the queue of their site."""

    invited: int
    full: int
    partial: int
    declined: int
    rejected: Mapping[str, int]
    timed_out: int
    lost: int
    queued: int = 0


Action = (
    OpenRound
    | SendTask
    | SendWrapUp
    | SendCancel
    | EndSession
    | Fold
    | Reject
    | CountEvaluation
    | Commit
    | Abandon
    | OpenEvaluation
    | CloseEvaluation
    | Release
    | Finish
    | SaveState
)
