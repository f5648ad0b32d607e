"""Sessions and members, suspension, edits, the job's deadline, restarts."""

from __future__ import annotations

import json

from unit.rounds.play import Play, job, kinds, last, of, only

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds import reasons


def open_round(**spec: object) -> Play:
    play = Play(job(**spec))
    play.join_all()
    return play


# ---- sessions and members


def test_a_newer_session_replaces_the_older_and_gets_the_task() -> None:
    play = open_round()
    old = play.sessions["s0"]
    actions = play.join("s0")
    assert actions[0] == do.EndSession("s0", old, "REPLACED")
    assert only(actions, do.SendTask).session == play.sessions["s0"]


def test_the_end_of_a_replaced_session_is_ignored() -> None:
    play = open_round()
    old = play.sessions["s0"]
    play.join("s0")
    play.tell(ev.Left("s0", old))
    assert play.engine.view(play.now).connected == 4


def test_an_older_session_that_is_heard_of_late_is_ended() -> None:
    play = open_round()
    assert play.tell(ev.Joined("s0", 0, 10)) == [do.EndSession("s0", 0, "REPLACED")]
    assert only(play.update("s0"), do.Fold).silo == "s0"


def test_a_stranger_is_sent_away() -> None:
    play = open_round()
    assert only(play.join("stranger"), do.EndSession).reason == "NOT_A_MEMBER"


def test_one_that_is_no_longer_a_member_loses_session_and_part() -> None:
    play = open_round()
    play.updates("s0", "s1")
    actions = play.tell(ev.MembersChanged(frozenset({"s0", "s1", "s2"})))
    assert actions == [do.EndSession("s3", play.sessions["s3"], "NOT_A_MEMBER")]
    assert play.update("s3") == [do.Reject("s3", "REJECTED", "NOT_IN_COHORT")]
    assert only(play.update("s2"), do.Commit).outcomes.lost == 1


def test_what_a_member_gave_before_it_was_removed_still_counts() -> None:
    play = open_round()
    play.updates("s2", "s3")
    play.tell(ev.MembersChanged(frozenset({"s0", "s1", "s2"})))
    play.updates("s0", "s1")
    assert last(play.done, do.Commit).outcomes.full == 4


def test_a_removed_member_does_not_hold_up_an_evaluation() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    play.evaluate("s0", "s1", "s2")
    assert of(play.tell(ev.MembersChanged(frozenset({"s0", "s1", "s2"}))), do.CloseEvaluation)


def test_with_fewer_members_than_updates_nobody_is_waited_for() -> None:
    play = Play()
    play.tell(ev.MembersChanged(frozenset({"s0", "s1", "s2"})))
    assert of(play.join("s0", "s1", "s2"), do.OpenRound)


# ---- suspension


def test_suspension_cuts_an_open_round_which_does_not_count() -> None:
    play = open_round()
    play.update("s0")
    actions = play.tell(ev.Suspended())
    assert kinds(actions) == ["SendCancel"] * 3 + ["Abandon", "SaveState"]
    assert (only(actions, do.Abandon).reason, only(actions, do.Abandon).counted) == (reasons.SUSPENDED, False)
    assert play.phase == "Suspended"
    assert play.wait(10_000) == []


def test_resume_opens_the_round_again() -> None:
    play = open_round()
    for attempt in (2, 3, 4, 5):
        play.tell(ev.Suspended())
        opened = only(play.tell(ev.Resumed()), do.OpenRound)
        assert (opened.round, opened.attempt) == (1, attempt)


def test_resume_gathers_anew() -> None:
    play = open_round()
    play.tell(ev.Suspended())
    play.leave("s0", "s1", "s2", "s3")
    play.wait(10_000)
    play.tell(ev.Resumed())
    assert of(play.join("s0", "s1", "s2"), do.OpenRound) == []
    assert of(play.wait(59), do.OpenRound) == []
    assert of(play.wait(1), do.OpenRound)


def test_a_commit_under_way_is_finished_before_the_suspension() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    assert play.tell(ev.Suspended()) == [], "not saved now: it would overwrite the checkpoint being written"
    assert kinds(play.committed()) == ["SaveState"]
    assert play.phase == "Suspended"
    assert play.engine.view(play.now).round == 1
    assert last(play.tell(ev.Resumed()), do.OpenEvaluation).round == 1


def test_an_evaluation_owed_over_a_suspension_waits_for_the_members_to_be_back() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    play.tell(ev.Suspended())
    play.committed()
    play.leave("s0", "s1", "s2", "s3")
    play.wait(1000)
    play.tell(ev.Resumed())
    play.join("s0", "s1", "s2")
    assert of(play.done, do.OpenEvaluation) == []
    assert len(only(play.join("s3"), do.OpenEvaluation).cohort) == 4


def test_an_evaluation_is_repeated_after_a_suspension() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    play.evaluate("s0")
    assert {c.evaluation for c in of(play.tell(ev.Suspended()), do.SendCancel)} == {True}
    assert only(play.tell(ev.Resumed()), do.OpenEvaluation).round == 1
    assert kinds(play.evaluate("s0")) == ["CountEvaluation"]


def test_a_job_can_start_suspended() -> None:
    play = Play(job(suspend=True))
    assert of(play.join_all(), do.OpenRound) == []
    assert of(play.tell(ev.Resumed()), do.OpenRound)


# ---- edits


def test_a_larger_total_goes_on_and_a_smaller_one_ends() -> None:
    play = open_round()
    play.tell(ev.TotalChanged(3))
    play.whole_round()
    play.whole_round()
    assert play.phase == "Training"
    play.whole_round()
    assert play.phase == "Complete"


def test_lowering_the_total_cuts_a_round_beyond_it() -> None:
    play = open_round(rounds={"total": 9})
    play.whole_round()
    actions = play.tell(ev.TotalChanged(1))
    assert only(actions, do.Abandon).reason == reasons.TOTAL_LOWERED
    assert only(actions, do.Finish).outcome == "Complete"


def test_the_last_round_is_evaluated_even_if_it_became_the_last_afterwards() -> None:
    play = open_round(rounds={"total": 9}, evaluation={"everyRounds": 5})
    play.whole_round()
    actions = play.tell(ev.TotalChanged(1))
    assert only(actions, do.OpenEvaluation).round == 1
    play.evaluate("s0", "s1", "s2", "s3")
    assert kinds(play.evaluated()) == ["Release", "Finish"]


def test_an_edit_outlives_the_process_and_gives_way_to_a_newer_manifest() -> None:
    play = open_round()
    play.tell(ev.TotalChanged(7))
    assert play.restart().engine.view(0).total == 7
    assert play.restart(the_job=job(rounds={"total": 5})).engine.view(0).total == 5


def test_more_silos_ask_for_more_updates_from_the_next_round_on() -> None:
    play = open_round()  # of four, quorum 3
    play.tell(ev.MembersChanged(frozenset(f"s{n}" for n in range(8))))
    play.tell(ev.CohortChanged(updates=8, quorum=6))
    assert only(play.updates("s0", "s1", "s2", "s3"), do.Commit), "the open round has its own"
    play.committed()
    play.evaluate("s0", "s1", "s2", "s3")
    play.evaluated()
    assert play.phase == "Gathering", "four are connected, six are needed"
    opened = only(play.join("s4") + play.join("s5") + play.wait(60), do.OpenRound)
    assert len(opened.cohort) == 6


# ---- the job's deadline, and giving up


def test_the_job_ends_when_its_active_seconds_are_used_up() -> None:
    play = Play(job(activeDeadlineSeconds=1000))
    end = only(play.wait(1000), do.Finish)
    assert (end.outcome, end.reason) == ("Failed", reasons.DEADLINE_EXCEEDED)


def test_suspended_seconds_do_not_count() -> None:
    play = Play(job(activeDeadlineSeconds=1000))
    play.wait(900)
    play.tell(ev.Suspended())
    play.wait(5000)
    play.tell(ev.Resumed())
    assert of(play.wait(99), do.Finish) == []
    assert of(play.wait(1), do.Finish)


def test_active_seconds_add_up_over_restarts() -> None:
    play = Play(job(activeDeadlineSeconds=1000))
    play.wait(600)
    later = play.restart()
    assert of(later.wait(399), do.Finish) == []
    assert of(later.wait(1), do.Finish)


def test_while_nothing_else_is_saved_the_active_time_is() -> None:
    assert kinds(Play().wait(300)) == ["SaveState"] * 5


def test_the_deadline_may_be_moved() -> None:
    play = Play(job(activeDeadlineSeconds=1000))
    play.tell(ev.DeadlineChanged(100.0))
    assert of(play.wait(100), do.Finish)


def test_the_end_of_the_job_cuts_an_open_round() -> None:
    play = open_round()
    actions = play.tell(ev.CannotContinue("TooFewSilos", "two silos are left"))
    assert kinds(actions) == ["SendCancel"] * 4 + ["Abandon", "Finish"]
    assert last(actions, do.Finish) == do.Finish("Failed", "TooFewSilos", "two silos are left")


def test_what_is_committed_is_released_before_the_job_fails() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    assert play.tell(ev.CannotContinue("Cancelled", "")) == []
    assert kinds(play.committed()) == ["Release", "Finish"]


def test_an_evaluation_under_way_is_closed_before_the_job_fails() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    play.evaluate("s0")
    assert kinds(play.tell(ev.CannotContinue("Cancelled", "")))[-1] == "CloseEvaluation"
    assert kinds(play.evaluated()) == ["Release", "Finish"]


def test_after_the_end_nothing_counts_and_nothing_opens() -> None:
    play = Play(job(rounds={"total": 0}, evaluation={"everyRounds": 0}))
    play.join_all()
    assert play.update("s0", round=1, attempt=1) == [do.Reject("s0", "ROUND_CLOSED", "")]
    assert play.tell(ev.TotalChanged(9)) == []
    assert play.tell(ev.Suspended()) == []
    assert play.phase == "Complete"


# ---- restarts


def test_a_round_cut_short_by_a_crash_opens_again_and_does_not_count() -> None:
    play = open_round()
    for attempt in (2, 3, 4, 5):
        play = play.restart()
        opened = only(play.join_all(), do.OpenRound)
        assert (opened.round, opened.attempt) == (1, attempt)
    assert play.update("s0", epoch=1) == [do.Reject("s0", "ROUND_CLOSED", "")]


def test_a_committed_round_that_awaits_evaluation_is_evaluated_and_never_repeated() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    later = play.restart(play.engine.snapshot_after_commit())
    assert later.join("s0", "s1", "s2") == []
    assert only(later.join("s3"), do.OpenEvaluation).round == 1
    later.evaluate("s0", "s1", "s2", "s3")
    actions = later.evaluated()
    assert kinds(actions)[0] == "Release"
    assert (last(actions, do.OpenRound).round, last(actions, do.OpenRound).attempt) == (2, 1)


def test_after_a_restart_members_are_waited_for_gather_seconds_then_who_is_there_evaluates() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    later = play.restart(play.engine.snapshot_after_commit())
    later.join("s2")
    assert of(later.wait(59), do.OpenEvaluation) == []
    assert only(later.wait(1), do.OpenEvaluation).cohort == {"s2"}


def test_after_a_restart_with_nobody_there_the_evaluation_is_empty() -> None:
    play = open_round()
    play.updates("s0", "s1", "s2", "s3")
    later = play.restart(play.engine.snapshot_after_commit())
    assert kinds(later.wait(60))[:2] == ["OpenEvaluation", "CloseEvaluation"]


def test_a_round_that_needs_no_evaluation_is_released_right_after_a_restart() -> None:
    play = open_round(evaluation={"everyRounds": 0})
    play.updates("s0", "s1", "s2", "s3")
    assert kinds(play.restart(play.engine.snapshot_after_commit()).done) == ["Release"]


def test_the_snapshot_for_the_checkpoint_is_the_one_after_the_commit() -> None:
    play = open_round()
    play.update("s0", steps=(2, 5))
    play.updates("s1", "s2", "s3")
    promised = play.engine.snapshot_after_commit()
    play.leave("s1")
    play.committed()
    assert play.engine.snapshot() == promised


def test_abandoned_in_a_row_is_counted_over_restarts() -> None:
    play = open_round()
    play.wait(200)
    later = play.restart()
    later.join_all()
    assert only(later.wait(100), do.Finish).reason == reasons.TOO_MANY_ABANDONED


def test_a_finished_job_says_so_again_after_a_restart() -> None:
    play = open_round()
    play.whole_round()
    play.whole_round()
    assert play.restart().done == [last(play.done, do.Finish)]


def test_the_snapshot_names_nobody() -> None:
    play = open_round()
    play.update("s0")
    play.wait(100)
    assert not any(name in json.dumps(play.engine.snapshot()) for name in play.sessions)
