"""The course of a job: from each phase, when to go on and to what.

`advance` goes as far as time and facts allow. Closing and Releasing wait for the shell's answer and for nothing else,
so that a suspension, a deadline or a cancellation that comes meanwhile takes effect right after it: what is committed
is always released.
"""

from __future__ import annotations

import math

from umbel.rounds import actions as do
from umbel.rounds import reasons
from umbel.rounds.attempt import Attempt, Verdict, open_attempt
from umbel.rounds.evaluation import Evaluation
from umbel.rounds.selection import invitations, select
from umbel.rounds.state import Phase, State

CLOCK_ROUNDING = 1e-6  # seconds; sums of durations may miss their target by this much


def advance(s: State) -> None:
    while _step(s):
        pass


def _step(s: State) -> bool:
    """Take one transition; False if there is none to take."""
    if s.ledger.outcome:
        if not s.announced:
            _announce(s)
        return False
    _mind_the_job_deadline(s)
    match s.phase:
        case Phase.GATHERING:
            return _gathering(s)
        case Phase.TRAINING:
            return _training(s)
        case Phase.EVALUATING:
            return _evaluating(s)
        case Phase.CLOSING | Phase.RELEASING:
            return False


def _mind_the_job_deadline(s: State) -> None:
    limit = s.terms.active_deadline
    if s.end is None and s.ledger.active_seconds >= limit - CLOCK_ROUNDING:
        s.end = do.Finish("Failed", reasons.DEADLINE_EXCEEDED, f"the job was active for {limit:g} s")


def _finish(s: State, end: do.Finish) -> None:
    s.ledger.outcome, s.ledger.reason, s.ledger.message = end.outcome, end.reason, end.message
    _announce(s)


def _announce(s: State) -> None:
    s.announced = True
    s.actions.append(do.Finish(s.ledger.outcome, s.ledger.reason, s.ledger.message))


# ---- between rounds


def _gathering(s: State) -> bool:
    if s.ledger.awaiting:
        return _toward_release(s)
    if s.end is not None:
        _finish(s, s.end)
        return False
    if s.terms.suspended:
        return False
    if s.ledger.committed < s.terms.total:
        return _open_round(s)
    if s.terms.evaluate_every > 0 and s.ledger.evaluated < s.ledger.committed:
        return has_gathered(s, wanted=everybody(s)) and _open_evaluation(s)
    _finish(s, do.Finish("Complete", reasons.ALL_ROUNDS_COMMITTED, f"{s.ledger.committed} rounds committed"))
    return False


def everybody(s: State) -> int:
    return len(s.members.members or ())


def has_gathered(s: State, *, wanted: int) -> bool:
    """Whether enough members can be asked to open: ``wanted``, or the quorum once the rest has been waited for.

    A quorum whose examples are below the floor is none: its round could only be abandoned.
    """
    examples = s.members.available()
    connected = len(examples)
    if connected < s.terms.quorum or sum(examples.values()) < s.terms.min_examples:
        return False
    return connected >= min(wanted, everybody(s)) or s.now >= gathered_at(s)


def gathered_at(s: State) -> float:
    return s.members.waited_for_until(s.gathering_since, s.terms.gather)


def _open_round(s: State) -> bool:
    goal = s.terms.updates(everybody(s))
    if not has_gathered(s, wanted=goal):
        return False
    round, number = s.ledger.committed + 1, s.ledger.attempt + 1
    cohort = _cohort(s, goal, round, number)
    s.ledger.attempt = number
    s.dirty = True
    s.attempt = open_attempt(s.terms, round, number, goal, cohort, s.now)
    s.phase = Phase.TRAINING
    s.actions.append(do.OpenRound(round, number, cohort, s.ledger.mean_planned_steps))
    for silo in cohort:
        s.send_training(silo, s.attempt)
    return True


def _cohort(s: State, goal: int, round: int, number: int) -> dict[str, int]:
    connected = s.members.available()
    if s.terms.over_selection is None:
        count = invitations(goal, s.ledger.returns.estimate, len(connected))
    else:
        count = min(math.ceil(goal * s.terms.over_selection), len(connected))
    by_examples, seed = s.terms.by_examples, s.terms.seed
    return select(connected, count, by_examples=by_examples, seed=seed, round=round, attempt=number)


# ---- an open round


def _training(s: State) -> bool:
    held = s.attempt
    assert held is not None
    cut = _reason_to_cut(s, held)
    if cut is not None:
        _cancel_training(s, held)
        outcomes = _outcomes(s, held, deadline=False)
        abandon(s, held, cut, outcomes, counted=False)
        return True
    verdict = held.verdict(s.terms, s.now, s.members.all_gone_at(held.training))
    if verdict is not None:
        _close(s, held, verdict)
        return True
    if s.now >= held.wrap_up_at and not held.wrapped_up:
        held.wrapped_up = True
        for silo in held.training:
            s.send_wrap_up(silo, held)
    return False


def _reason_to_cut(s: State, held: Attempt) -> str | None:
    if s.end is not None:
        return reasons.JOB_ENDED
    if s.terms.suspended:
        return reasons.SUSPENDED
    return reasons.TOTAL_LOWERED if held.round > s.terms.total else None


def _cancel_training(s: State, held: Attempt) -> None:
    for silo in held.training:
        s.send_cancel(silo, held.round, held.number, evaluation=False)


def _close(s: State, held: Attempt, verdict: Verdict) -> None:
    outcomes = _outcomes(s, held, deadline=verdict.deadline)
    _cancel_training(s, held)
    if not verdict.commit:
        is_there = s.members.is_connected
        blameless = held.lacked_only_the_ineligible(s.terms, deadline=verdict.deadline, connected=is_there)
        if blameless:
            s.ledger.returns.observe(outcomes)  # it says nothing of the job, but of who comes when he is invited
        abandon(s, held, verdict.reason, outcomes, counted=not blameless)
        return
    s.phase = Phase.CLOSING
    s.outcomes = outcomes
    s.actions.append(do.Commit(held.round, held.number, outcomes))


def _outcomes(s: State, held: Attempt, *, deadline: bool) -> do.RoundOutcomes:
    return held.outcomes(deadline=deadline, connected=s.members.is_connected, queued=s.members.queued())


def abandon(s: State, held: Attempt, reason: str, outcomes: do.RoundOutcomes, *, counted: bool) -> None:
    s.actions.append(do.Abandon(held.round, held.number, reason, counted, outcomes))
    s.dirty = True
    s.gather()
    if not counted:
        return
    s.ledger.returns.observe(outcomes)
    s.ledger.abandoned += 1
    if s.ledger.abandoned >= s.terms.max_consecutive_abandoned and s.end is None:
        message = f"round {held.round} was abandoned {s.ledger.abandoned} times in a row, the last time: {reason}"
        s.end = do.Finish("Failed", reasons.TOO_MANY_ABANDONED, message)


# ---- after a commit


def _toward_release(s: State) -> bool:
    """Evaluate the committed round if that is due, then release it. A job that ends does not wait for evaluation."""
    if s.end is not None or not evaluation_due(s):
        release(s)
        return True
    if s.terms.suspended or s.members.members is None:
        return False
    wait_over = s.evaluate_at_once or s.now >= gathered_at(s)
    return (wait_over or len(s.members.available()) >= everybody(s)) and _open_evaluation(s)


def evaluation_due(s: State) -> bool:
    every = s.terms.evaluate_every
    return every > 0 and (s.ledger.committed % every == 0 or s.ledger.committed >= s.terms.total)


def _open_evaluation(s: State) -> bool:
    cohort = frozenset(s.members.available())
    deadline = s.now + s.terms.evaluation_timeout
    s.evaluation = Evaluation(s.ledger.committed, s.ledger.committed_attempt, deadline, set(cohort))
    s.evaluate_at_once = False
    s.phase = Phase.EVALUATING
    s.actions.append(do.OpenEvaluation(s.evaluation.round, s.evaluation.attempt, cohort))
    for silo in sorted(cohort):
        s.send_evaluation(silo, s.evaluation)
    return True


def _evaluating(s: State) -> bool:
    """A suspension breaks the evaluation off, to be repeated; the end of the job closes it with what has come in."""
    held = s.evaluation
    assert held is not None
    over = s.end is not None or s.now >= held.over_at(s.members.all_gone_at(held.awaited))
    if not over and not s.terms.suspended:
        return False
    for silo in sorted(held.awaited):
        s.send_cancel(silo, held.round, held.attempt, evaluation=True)
    if over:
        s.phase = Phase.RELEASING
        s.actions.append(do.CloseEvaluation(held.round))
    else:
        s.gather()
    return True


def release(s: State) -> None:
    s.ledger.awaiting = False
    s.evaluate_at_once = False
    s.dirty = True
    s.actions.append(do.Release(s.ledger.committed))
    s.gather()


# ---- time


def next_wake(s: State) -> float | None:
    """When time alone will change something, at the latest; None: never."""
    if s.ledger.outcome:
        return None
    moments: list[float] = []
    if s.end is None and not s.terms.suspended:
        moments.append(s.now + s.terms.active_deadline - s.ledger.active_seconds)
    if s.phase is Phase.GATHERING and not s.terms.suspended:
        moments.append(gathered_at(s))
    elif s.phase is Phase.TRAINING and s.attempt is not None:
        moments += s.attempt.wakes(s.members.all_gone_at(s.attempt.training))
    elif s.phase is Phase.EVALUATING and s.evaluation is not None:
        moments.append(s.evaluation.over_at(s.members.all_gone_at(s.evaluation.awaited)))
    return min((moment for moment in moments if moment > s.now), default=None)
