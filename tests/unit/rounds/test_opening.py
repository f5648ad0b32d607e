"""When a round opens, who is invited, and what is said while none does."""

from __future__ import annotations

from unit.rounds.play import Play, job, kinds, last, of, only

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds import reasons


def test_a_round_opens_as_soon_as_updates_members_are_connected() -> None:
    play = Play()
    assert of(play.join("s0", "s1", "s2"), do.OpenRound) == []
    opened = only(play.join("s3"), do.OpenRound)
    assert (opened.round, opened.attempt) == (1, 1)
    assert opened.cohort == {"s0": 10, "s1": 10, "s2": 10, "s3": 10}


def test_everybody_invited_gets_the_task_in_his_session() -> None:
    play = Play()
    tasks = of(play.join_all(), do.SendTask)
    assert {t.silo: t.session for t in tasks} == play.sessions
    assert {(t.round, t.attempt, t.evaluation, t.seconds_left, t.grace_seconds) for t in tasks} == {
        (1, 1, False, 100.0, 10.0)
    }


def test_after_gather_seconds_the_quorum_is_enough() -> None:
    play = Play()
    play.join("s0", "s1", "s2")
    assert of(play.wait(59), do.OpenRound) == []
    assert set(only(play.wait(1), do.OpenRound).cohort) == {"s0", "s1", "s2"}


def test_fewer_than_the_quorum_open_no_round_and_abandon_none() -> None:
    play = Play()
    play.join("s0", "s1")
    assert play.reason == reasons.WAITING_FOR_MEMBERS
    assert kinds([a for a in play.wait(3600) if not isinstance(a, do.SaveState)]) == []
    assert (play.phase, play.reason) == ("Gathering", reasons.QUORUM_NOT_CONNECTED)
    assert play.engine.view(play.now).message == "2 members are connected; a round needs 3"
    assert of(play.join("s2"), do.OpenRound), "gatherSeconds are long over: the quorum opens it"


def test_a_quorum_with_fewer_examples_than_the_floor_opens_no_round() -> None:
    play = Play(job(privacy={"minExamples": 100}))
    play.join_all()
    play.wait(60)
    assert (play.phase, play.reason) == ("Gathering", reasons.TOO_FEW_EXAMPLES)
    assert of(play.tell(ev.Declared("s0", play.sessions["s0"], 70)), do.OpenRound)


def test_a_member_that_has_long_been_away_is_not_waited_for_again() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join("s0", "s1", "s2")
    play.wait(60)
    assert only(play.whole_round(), do.OpenRound).round == 2, "the next round opens in the same instant"


def test_a_member_that_has_just_left_is_waited_for() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join_all()
    play.wait(50)
    play.updates("s0", "s1", "s2", "s3")
    play.leave("s3")
    assert of(play.committed(), do.OpenRound) == []
    assert of(play.wait(59), do.OpenRound) == []
    assert set(only(play.wait(1), do.OpenRound).cohort) == {"s0", "s1", "s2"}


def test_nothing_opens_before_the_list_of_members_is_known() -> None:
    play = Play(members=None)
    play.join("s0", "s1", "s2", "s3", "stranger")
    assert of(play.wait(1000), do.OpenRound) == []
    assert play.reason == reasons.WAITING_FOR_MEMBER_LIST
    assert not play.engine.members_known
    assert not play.engine.is_member("s0")
    actions = play.tell(ev.MembersChanged(frozenset({"s0", "s1", "s2", "s3"})))
    assert only(actions, do.EndSession).silo == "stranger"
    assert only(actions, do.OpenRound).round == 1


def test_an_opening_invites_only_as_many_as_make_updates_likely() -> None:
    play = Play(job(20, rounds={"updates": 5}))
    play.join_all()
    opened = last(play.done, do.OpenRound)
    assert len(opened.cohort) == 5, "five were connected"
    play.updates(*opened.cohort)
    play.committed()
    play.evaluate(*(f"s{i}" for i in range(20)))
    assert len(only(play.evaluated(), do.OpenRound).cohort) == 5, "everybody invited had come back"


def test_unreliable_members_make_cohorts_grow() -> None:
    play = Play(job(20, rounds={"updates": 5}, evaluation={"everyRounds": 0}))
    play.join_all()
    opened = last(play.done, do.OpenRound)
    returning, lost = list(opened.cohort)[:3], list(opened.cohort)[3:]
    play.leave(*lost)
    play.updates(*returning)
    play.wait(15)
    assert len(only(play.committed(), do.OpenRound).cohort) > 8, "a return rate of 3/5 needs more than 5/0.6"


def test_over_selection_can_be_a_factor() -> None:
    play = Play(job(20, rounds={"updates": 5, "overSelection": 1.3}))
    play.join(*(f"s{i}" for i in range(4)))
    play.tell(ev.Suspended())
    play.join(*(f"s{i}" for i in range(4, 20)))
    assert len(only(play.tell(ev.Resumed()), do.OpenRound).cohort) == 7


def test_a_declared_number_counts_from_the_next_opening() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join_all()
    play.tell(ev.Declared("s0", play.sessions["s0"], 77))
    assert only(play.update("s0"), do.Fold).examples == 10
    play.updates("s1", "s2", "s3")
    assert only(play.committed(), do.OpenRound).cohort["s0"] == 77


def test_the_mean_of_the_planned_steps_is_told_at_the_opening() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join_all()
    assert last(play.done, do.OpenRound).planned_steps == 0
    for silo, planned in [("s0", 10), ("s1", 20), ("s2", 60), ("s3", 0)]:
        play.update(silo, steps=(10, planned))
    assert only(play.committed(), do.OpenRound).planned_steps == 30


def test_an_opening_is_saved_so_that_its_attempt_is_never_used_again() -> None:
    play = Play()
    assert kinds(play.join_all())[-1] == "SaveState"
    later = play.restart()
    assert last(later.join_all(), do.OpenRound).attempt == 2
