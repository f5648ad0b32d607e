"""When a round closes, how, and what each member is told."""

from __future__ import annotations

import pytest
from unit.rounds.play import Play, job, kinds, last, of, only

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds import reasons


@pytest.fixture
def play() -> Play:
    """Round 1 has just opened for s0 … s3: goal 4, quorum 3."""
    play = Play()
    play.join_all()
    return play


def test_reaching_the_goal_commits_at_once(play: Play) -> None:
    assert kinds(play.updates("s0", "s1", "s2")) == ["Fold"] * 3
    actions = play.update("s3")
    assert kinds(actions) == ["Fold", "Commit"]
    assert only(actions, do.Commit).outcomes == do.RoundOutcomes(4, 4, 0, 0, {}, 0, 0)


def test_who_is_still_training_at_the_goal_is_cancelled_and_not_blamed() -> None:
    play = Play(job(5, rounds={"updates": 3, "overSelection": 2}, evaluation={"everyRounds": 0}))
    play.tell(ev.Suspended())
    play.join_all()
    play.tell(ev.Resumed())
    actions = play.updates("s0", "s1", "s2")
    assert {c.silo for c in of(actions, do.SendCancel)} == {"s3", "s4"}
    assert only(actions, do.Commit).outcomes == do.RoundOutcomes(5, 3, 0, 0, {}, 0, 0)


def test_with_the_quorum_it_closes_when_the_others_have_declined(play: Play) -> None:
    play.updates("s0", "s1", "s2")
    assert only(play.decline("s3"), do.Commit).outcomes.declined == 1


def test_with_the_quorum_it_closes_when_the_others_were_refused(play: Play) -> None:
    play.updates("s0", "s1", "s2")
    assert only(play.spoil("s3", "NOT_FINITE"), do.Commit).outcomes.rejected == {"NOT_FINITE": 1}


def test_with_the_quorum_it_closes_when_the_others_had_no_session_for_15_seconds(play: Play) -> None:
    play.updates("s0", "s1", "s2")
    play.leave("s3")
    assert of(play.wait(14.9), do.Commit) == []
    assert only(play.wait(0.1), do.Commit).outcomes.lost == 1


def test_the_15_seconds_count_from_the_end_of_the_stream(play: Play) -> None:
    play.leave("s3")
    play.wait(20)
    play.updates("s0", "s1")
    assert kinds(play.update("s2")) == ["Fold", "Commit"]


def test_one_that_is_back_in_time_gets_the_same_task_again(play: Play) -> None:
    play.leave("s3")
    play.wait(10)
    task = only(play.join("s3"), do.SendTask)
    assert (task.silo, task.session, task.round, task.attempt) == ("s3", play.sessions["s3"], 1, 1)
    assert task.seconds_left == 90
    play.updates("s0", "s1", "s2")
    assert of(play.wait(30), do.Commit) == [], "it is awaited again"
    assert of(play.update("s3"), do.Commit)


def test_one_that_has_answered_gets_no_task_when_it_is_back(play: Play) -> None:
    play.update("s3")
    play.leave("s3")
    assert play.join("s3") == []


def test_a_silent_member_is_not_gone(play: Play) -> None:
    """Its stream is open: only the deadline ends the wait."""
    play.updates("s0", "s1", "s2")
    assert of(play.wait(99), do.Commit) == []
    assert only(play.wait(1), do.Commit).outcomes.timed_out == 1


def test_wrap_up_is_sent_once_to_who_is_still_training_at_deadline_minus_grace(play: Play) -> None:
    play.update("s0")
    play.decline("s1")
    assert of(play.wait(89), do.SendWrapUp) == []
    notices = of(play.wait(1), do.SendWrapUp)
    assert {(n.silo, n.round, n.attempt, n.seconds_left) for n in notices} == {("s2", 1, 1, 10.0), ("s3", 1, 1, 10.0)}
    assert of(play.wait(5), do.SendWrapUp) == []


def test_one_that_is_back_after_the_notice_gets_it_with_the_task(play: Play) -> None:
    play.leave("s3")
    play.wait(95)
    assert kinds(play.join("s3")) == ["SendTask", "SendWrapUp"]


def test_at_the_deadline_the_quorum_commits(play: Play) -> None:
    play.updates("s0", "s1", "s2")
    actions = play.wait(100)
    assert kinds(actions)[-2:] == ["SendCancel", "Commit"]


def test_at_the_deadline_fewer_than_the_quorum_abandon(play: Play) -> None:
    play.updates("s0", "s1")
    abandoned = only(play.wait(100), do.Abandon)
    assert (abandoned.reason, abandoned.counted) == (reasons.QUORUM_NOT_REACHED, True)
    assert abandoned.outcomes == do.RoundOutcomes(4, 2, 0, 0, {}, 2, 0)


def test_a_quorum_with_too_few_examples_is_abandoned() -> None:
    play = Play(job(privacy={"minExamples": 35}))
    play.join_all()
    play.updates("s0", "s1", "s2")
    assert only(play.wait(100), do.Abandon).reason == reasons.TOO_FEW_EXAMPLES


def test_examples_that_nobody_can_bring_any_more_are_not_waited_for() -> None:
    play = Play(job(privacy={"minExamples": 35}))
    play.join_all()
    play.updates("s0", "s1")
    assert only(play.decline("s2"), do.Abandon).reason == reasons.TOO_FEW_EXAMPLES


def test_it_is_abandoned_early_when_everybody_outstanding_is_gone(play: Play) -> None:
    play.updates("s0", "s1")
    play.leave("s2", "s3")
    assert of(play.wait(14), do.Abandon) == []
    assert only(play.wait(1), do.Abandon).reason == reasons.QUORUM_LOST


def test_it_is_abandoned_early_when_too_few_are_left(play: Play) -> None:
    play.decline("s0")
    assert only(play.decline("s1"), do.Abandon).reason == reasons.QUORUM_LOST


def test_one_that_may_still_come_back_keeps_the_attempt_open_while_others_train(play: Play) -> None:
    play.update("s0")
    play.leave("s1", "s2")
    assert of(play.wait(60), do.Abandon) == []
    play.join("s1", "s2")
    play.updates("s1", "s2", "s3")
    assert of(play.done, do.Commit)


def test_an_abandoned_round_opens_again_under_its_number(play: Play) -> None:
    play.wait(100)
    opened = last(play.done, do.OpenRound)
    assert (opened.round, opened.attempt) == (1, 2)


def test_too_many_abandoned_in_a_row_fail_the_job(play: Play) -> None:
    actions = play.wait(300)
    assert len(of(actions, do.Abandon)) == 3
    end = only(actions, do.Finish)
    assert (end.outcome, end.reason) == ("Failed", reasons.TOO_MANY_ABANDONED)


def test_a_commit_between_them_starts_the_count_again(play: Play) -> None:
    play.wait(200)
    play.whole_round()
    assert of(play.wait(200), do.Finish) == []
    assert of(play.wait(100), do.Finish)


# ---- late, twice, wrong


def test_an_update_after_the_close_is_told_so(play: Play) -> None:
    play.updates("s0", "s1", "s2")
    play.wait(100)
    assert play.phase == "Closing"
    assert play.update("s3") == [do.Reject("s3", "ROUND_CLOSED", "")]
    play.committed()
    assert play.update("s3", round=1, attempt=1) == [do.Reject("s3", "ROUND_CLOSED", "")]


def test_what_was_accepted_is_told_so_again_and_counts_once(play: Play) -> None:
    play.update("s0")
    assert play.update("s0") == [do.Reject("s0", "ACCEPTED", "")]
    play.updates("s1", "s2", "s3")
    assert play.update("s0") == [do.Reject("s0", "ACCEPTED", "")], "also when its answer was lost and the round closed"
    assert last(play.done[:-1], do.Commit).outcomes.full == 4


@pytest.mark.parametrize("token", [{"epoch": 7}, {"round": 2}, {"attempt": 2}])
def test_an_update_for_another_token_is_told_that_its_round_is_closed(play: Play, token: dict[str, int]) -> None:
    assert play.update("s0", **token) == [do.Reject("s0", "ROUND_CLOSED", "")]
    assert kinds(play.update("s0")) == ["Fold"]


def test_an_update_of_one_who_is_not_invited_is_refused() -> None:
    play = Play(job(5, rounds={"updates": 4}))
    play.join_all()
    assert play.update("s4") == [do.Reject("s4", "REJECTED", "NOT_IN_COHORT")]


def test_the_header_is_asked_about_with_the_same_answers(play: Play) -> None:
    ask = play.engine.check_upload
    assert ask("s0", 1, 1, 1) is None
    assert ask("stranger", 1, 1, 1) == ("REJECTED", "NOT_IN_COHORT")
    assert ask("s0", 1, 1, 2) == ("ROUND_CLOSED", "")
    play.update("s0")
    assert ask("s0", 1, 1, 1) == ("ACCEPTED", "")
    play.decline("s1")
    assert ask("s1", 1, 1, 1) == ("ROUND_CLOSED", "")


def test_a_truncated_upload_may_come_again(play: Play) -> None:
    assert play.spoil("s0", "TRUNCATED") == []
    assert kinds(play.update("s0")) == ["Fold"]


def test_one_that_was_refused_stays_refused_for_this_attempt(play: Play) -> None:
    play.spoil("s0", "OUT_OF_RANGE")
    assert play.update("s0") == [do.Reject("s0", "REJECTED", "OUT_OF_RANGE")]


def test_a_spoiled_repeat_takes_nothing_back(play: Play) -> None:
    play.update("s0")
    play.spoil("s0", "WRONG_DIGEST")
    play.updates("s1", "s2")
    assert only(play.update("s3"), do.Commit).outcomes.full == 4


# ---- partial work


@pytest.mark.parametrize(
    ("steps", "gradients", "rescale"),
    [
        ((5, 5), False, 1.0),
        ((2, 5), False, 2.5),
        ((1, 50), False, 4.0),
        ((0, 5), False, 4.0),
        ((3, 0), False, 1.0),
        ((2, 5), True, 1.0),
    ],
    ids=["whole", "partial", "capped", "nothing done", "plan unknown", "gradients"],
)
def test_partial_work_is_rescaled(play: Play, steps: tuple[int, int], gradients: bool, rescale: float) -> None:
    assert only(play.update("s0", steps=steps, gradients=gradients), do.Fold).rescale == rescale


def test_partial_work_is_taken_as_it_is() -> None:
    play = Play(job(rounds={"partialUpdates": "AsIs"}))
    play.join_all()
    assert only(play.update("s0", steps=(2, 5)), do.Fold).rescale == 1.0


def test_partial_work_is_refused() -> None:
    play = Play(job(rounds={"partialUpdates": "Refuse"}))
    play.join_all()
    assert play.update("s0", steps=(2, 5)) == [do.Reject("s0", "REJECTED", "PARTIAL_REFUSED")]
    play.updates("s1", "s2", "s3")
    assert last(play.done, do.Commit).outcomes.rejected == {"PARTIAL_REFUSED": 1}


def test_whole_and_partial_updates_are_counted_apart(play: Play) -> None:
    play.update("s0", steps=(2, 5))
    outcomes = only(play.updates("s1", "s2", "s3"), do.Commit).outcomes
    assert (outcomes.full, outcomes.partial) == (3, 1)


# ---- a commit that fails


def test_a_model_that_is_not_finite_fails_the_job(play: Play) -> None:
    play.updates("s0", "s1", "s2", "s3")
    actions = play.commit_failed("NotFinite")
    assert only(actions, do.Abandon).reason == reasons.NOT_FINITE
    assert only(actions, do.Finish).reason == reasons.DIVERGED


def test_a_failed_checkpoint_abandons_the_attempt_and_tries_again(play: Play) -> None:
    play.updates("s0", "s1", "s2", "s3")
    actions = play.commit_failed("CheckpointFailed")
    abandoned, opened = only(actions, do.Abandon), only(actions, do.OpenRound)
    assert (abandoned.reason, abandoned.counted) == (reasons.CHECKPOINT_FAILED, True)
    assert (opened.round, opened.attempt) == (1, 2)
