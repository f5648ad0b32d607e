"""What each event says, written into the engine's state; answers that a member waits for are given here too.

Nothing moves on here: which round opens or closes is decided in `course`.
"""

from __future__ import annotations

from umbel.rounds import actions as do
from umbel.rounds import course, reasons
from umbel.rounds import events as ev
from umbel.rounds.attempt import NOT_ELIGIBLE, Part, rescale
from umbel.rounds.state import Phase, State


def hear(s: State, event: ev.Event) -> None:
    match event:
        case ev.Joined():
            _joined(s, event)
        case ev.Declared():
            s.members.declare(event.silo, event.session, event.examples)
        case ev.Left():
            s.members.leave(event.silo, event.session, s.now)
        case ev.MembersChanged():
            _members_changed(s, event.silos)
        case ev.QueuedChanged():
            s.members.queue(event.silos, s.now)
        case ev.UpdateArrived():
            _update_arrived(s, event)
        case ev.UpdateSpoiled():
            _update_spoiled(s, event)
        case ev.Declined():
            _declined(s, event)
        case ev.EvaluationArrived():
            _evaluation_arrived(s, event)
        case ev.Committed():
            _committed(s, event)
        case ev.CommitFailed():
            _commit_failed(s, event)
        case ev.Evaluated():
            _evaluated(s, event)
        case ev.CannotContinue():
            s.end = s.end or do.Finish("Failed", event.reason, event.message)
        case ev.TotalChanged() | ev.CohortChanged() | ev.DeadlineChanged() | ev.Suspended() | ev.Resumed():
            _edited(s, event)
        case ev.Tick():
            pass


def _edited(s: State, event: ev.Edit) -> None:
    if s.ledger.outcome:
        return
    was_suspended = s.terms.suspended
    s.dirty |= s.terms.edit(event)
    if was_suspended and not s.terms.suspended:
        s.gathering_since = s.now
        s.evaluate_at_once = False
        s.members.wait_anew(s.now)


# ---- members


def _joined(s: State, event: ev.Joined) -> None:
    if s.members.members is not None and not s.members.belongs(event.silo):
        s.actions.append(do.EndSession(event.silo, event.session, "NOT_A_MEMBER"))
        return
    replaced = s.members.join(event.silo, event.session, event.examples)
    if replaced is not None:
        s.actions.append(do.EndSession(event.silo, replaced, "REPLACED"))
    if replaced == event.session:
        return
    if s.phase is Phase.TRAINING and s.attempt is not None and event.silo in s.attempt.training:
        s.send_training(event.silo, s.attempt)
    elif s.phase is Phase.EVALUATING and s.evaluation is not None and event.silo in s.evaluation.awaited:
        s.send_evaluation(event.silo, s.evaluation)


def _members_changed(s: State, silos: frozenset[str]) -> None:
    if s.members.members is None:
        s.gathering_since = s.now
    for silo, session in s.members.change(silos, s.now):
        s.actions.append(do.EndSession(silo, session, "NOT_A_MEMBER"))
    if s.phase is Phase.TRAINING and s.attempt is not None:
        for silo in s.attempt.invited.keys() - silos:
            s.attempt.end_part(silo, Part.REMOVED)
    if s.phase is Phase.EVALUATING and s.evaluation is not None:
        for silo in s.evaluation.awaited - silos:
            s.evaluation.decline(silo)


# ---- what the invited answer


def verdict_on_upload(s: State, silo: str, epoch: int, round: int, attempt: int) -> tuple[str, str] | None:
    """None: this update can count. What was accepted is told so again, also when its round has closed meanwhile."""
    held = s.attempt
    if held is None or (epoch, round, attempt) != (s.epoch, held.round, held.number):
        return "ROUND_CLOSED", ""
    known = held.verdict_on(silo)
    if s.phase is Phase.TRAINING or (known is not None and known[0] == "ACCEPTED"):
        return known
    return "ROUND_CLOSED", ""


def _update_arrived(s: State, event: ev.UpdateArrived) -> None:
    refusal = verdict_on_upload(s, event.silo, event.epoch, event.round, event.attempt)
    if refusal is not None:
        s.actions.append(do.Reject(event.silo, *refusal))
        return
    assert s.attempt is not None
    scale = rescale(s.terms, event)
    if scale is None:
        s.attempt.end_part(event.silo, Part.REJECTED, "PARTIAL_REFUSED")
        s.actions.append(do.Reject(event.silo, "REJECTED", "PARTIAL_REFUSED"))
        return
    s.attempt.accept(event)
    examples = s.attempt.invited[event.silo].examples
    s.actions.append(do.Fold(event.silo, event.round, event.attempt, examples, scale))


def _update_spoiled(s: State, event: ev.UpdateSpoiled) -> None:
    held = s.open_attempt(event.round, event.attempt)
    if held is not None and event.reason != "TRUNCATED":
        held.end_part(event.silo, Part.REJECTED, event.reason)


def _declined(s: State, event: ev.Declined) -> None:
    if event.evaluation:
        if (evaluation := s.open_evaluation(event.round, event.attempt)) is not None:
            evaluation.decline(event.silo)
            _rest(s, event)
    elif (held := s.open_attempt(event.round, event.attempt)) is not None:
        held.end_part(event.silo, Part.DECLINED, event.reason)
        _rest(s, event)


def _rest(s: State, event: ev.Declined) -> None:
    if event.reason == NOT_ELIGIBLE:
        s.members.rest(event.silo)


def _evaluation_arrived(s: State, event: ev.EvaluationArrived) -> None:
    held = s.evaluation
    if held is None or (event.epoch, event.round, event.attempt) != (s.epoch, held.round, held.attempt):
        s.actions.append(do.Reject(event.silo, "ROUND_CLOSED", ""))
        return
    known = held.verdict_on(event.silo)
    if s.phase is not Phase.EVALUATING and (known is None or known[0] != "ACCEPTED"):
        known = "ROUND_CLOSED", ""
    if known is not None:
        s.actions.append(do.Reject(event.silo, *known))
        return
    held.count(event.silo)
    s.actions.append(do.CountEvaluation(event.silo, event.round))


# ---- what the shell answers


def _committed(s: State, event: ev.Committed) -> None:
    held = s.closing_attempt(event.round, event.attempt)
    if held is None or s.outcomes is None:
        return
    s.ledger.commit(held.number, held.planned, s.outcomes)
    s.evaluate_at_once = True
    s.gather()


def _commit_failed(s: State, event: ev.CommitFailed) -> None:
    held = s.closing_attempt(event.round, event.attempt)
    if held is None or s.outcomes is None:
        return
    diverged = event.reason == reasons.NOT_FINITE
    course.abandon(s, held, reasons.NOT_FINITE if diverged else reasons.CHECKPOINT_FAILED, s.outcomes, counted=True)
    if diverged:
        message = f"the model of round {held.round} has values that are not finite"
        s.end = do.Finish("Failed", reasons.DIVERGED, message)


def _evaluated(s: State, event: ev.Evaluated) -> None:
    held = s.evaluation
    if s.phase is not Phase.RELEASING or held is None or event.round != held.round:
        return
    s.ledger.evaluated = held.round
    s.ledger.stopping.observe(s.job, event.metrics)
    course.release(s)
    if s.end is not None:
        return
    if s.ledger.stopping.diverged:
        s.end = do.Finish("Failed", reasons.DIVERGED, "the evaluation loss stayed at the top of its range")
    elif met := s.ledger.stopping.met(s.job, event.metrics):
        s.end = do.Finish("Complete", reasons.STOP_CONDITION_MET, met)
