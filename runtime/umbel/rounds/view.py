"""What the engine shows of itself: aggregate facts, no name of a silo."""

from __future__ import annotations

from dataclasses import dataclass

from umbel.rounds import course, reasons
from umbel.rounds.state import Phase, State


@dataclass(frozen=True, slots=True)
class View:
    """``phase``: Gathering, Training, Closing, Evaluating, Releasing, Suspended, Complete or Failed.

    ``round`` is the one that is open or comes next, or the one being evaluated and released; ``seconds_left`` to the
    deadline of training or evaluation, None outside them.
    """

    phase: str
    round: int
    attempt: int
    total: int
    invited: int
    connected: int
    members: int
    seconds_left: float | None
    reason: str
    message: str


def look(s: State, now: float) -> View:
    deadline = _deadline(s)
    reason, message = _explain(s, now)
    round, attempt, invited = _subject(s)
    return View(
        phase=_phase(s),
        round=round,
        attempt=attempt,
        total=s.terms.total,
        invited=invited,
        connected=len(s.members.connected()),
        members=len(s.members.members or ()),
        seconds_left=max(0.0, deadline - now) if deadline is not None else None,
        reason=reason,
        message=message,
    )


def _phase(s: State) -> str:
    if s.ledger.outcome:
        return s.ledger.outcome
    return "Suspended" if s.terms.suspended and s.phase is Phase.GATHERING else s.phase.value


def _deadline(s: State) -> float | None:
    if s.phase is Phase.TRAINING and s.attempt is not None:
        return s.attempt.deadline
    if s.phase is Phase.EVALUATING and s.evaluation is not None:
        return s.evaluation.deadline
    return None


def _subject(s: State) -> tuple[int, int, int]:
    """(round, attempt, invited)."""
    if s.phase in (Phase.TRAINING, Phase.CLOSING) and s.attempt is not None:
        return s.attempt.round, s.attempt.number, len(s.attempt.invited)
    if s.phase in (Phase.EVALUATING, Phase.RELEASING) and s.evaluation is not None:
        return s.evaluation.round, s.evaluation.attempt, s.evaluation.invited
    settled = s.ledger.awaiting or s.ledger.outcome or s.ledger.committed >= s.terms.total
    if settled:
        return s.ledger.committed, s.ledger.committed_attempt, 0
    return s.ledger.committed + 1, s.ledger.attempt, 0


def _explain(s: State, now: float) -> tuple[str, str]:
    if s.ledger.outcome:
        return s.ledger.reason, s.ledger.message
    match s.phase:
        case Phase.TRAINING:
            return reasons.ROUND_OPEN, ""
        case Phase.CLOSING:
            return reasons.COMMITTING, ""
        case Phase.EVALUATING:
            return reasons.EVALUATING, ""
        case Phase.RELEASING:
            return reasons.RELEASING, ""
        case Phase.GATHERING:
            return _explain_waiting(s, now)


def _explain_waiting(s: State, now: float) -> tuple[str, str]:
    if s.terms.suspended:
        return reasons.SUSPENDED, "spec.suspend is set"
    if s.members.members is None:
        return reasons.WAITING_FOR_MEMBER_LIST, "who belongs to the job is not known yet"
    connected, available, quorum = len(s.members.connected()), s.members.available(), s.terms.quorum
    if connected < quorum:
        reason = reasons.WAITING_FOR_MEMBERS if now < course.gathered_at(s) else reasons.QUORUM_NOT_CONNECTED
        queued = len(s.members.queued())
        waiting = f"; {queued} wait in the queues of their sites" if queued else ""
        return reason, f"{connected} members are connected; a round needs {quorum}{waiting}"
    if len(available) < quorum:
        message = f"{len(available)} of {connected} connected members are eligible; a round needs {quorum}"
        return reasons.QUORUM_NOT_ELIGIBLE, message
    if sum(available.values()) < s.terms.min_examples:
        return reasons.TOO_FEW_EXAMPLES, "the connected members hold fewer examples than privacy.minExamples"
    return reasons.WAITING_FOR_MEMBERS, f"{connected} of {len(s.members.members)} members are connected"
