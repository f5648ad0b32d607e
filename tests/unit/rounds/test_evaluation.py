"""Evaluation, release, and what evaluation says about going on."""

from __future__ import annotations

from typing import Any

import pytest
from unit.rounds.play import Play, job, kinds, last, of, only

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds import reasons


def committed(the_job: Any = None) -> Play:
    """Round 1 is committed, with everybody connected."""
    play = Play(the_job)
    play.join_all()
    play.updates(*last(play.done, do.OpenRound).cohort)
    play.committed()
    return play


def test_every_connected_member_evaluates_the_new_model() -> None:
    play = Play(job(5, rounds={"updates": 4}))
    play.join_all()
    play.updates("s0", "s1", "s2", "s3")
    play.leave("s0")
    actions = play.committed()
    assert only(actions, do.OpenEvaluation) == do.OpenEvaluation(1, 1, frozenset({"s1", "s2", "s3", "s4"}))
    tasks = of(actions, do.SendTask)
    assert {t.silo for t in tasks} == {"s1", "s2", "s3", "s4"}
    assert {(t.round, t.evaluation, t.seconds_left) for t in tasks} == {(1, True, 120.0)}


def test_it_closes_when_all_have_answered_declined_or_gone() -> None:
    play = committed()
    assert kinds(play.evaluate("s0", "s1")) == ["CountEvaluation"] * 2
    play.decline("s2", evaluation=True)
    play.leave("s3")
    assert only(play.wait(15), do.CloseEvaluation).round == 1


def test_it_closes_at_its_timeout() -> None:
    play = committed()
    play.evaluate("s0")
    assert of(play.wait(119), do.CloseEvaluation) == []
    actions = play.wait(1)
    assert {c.silo for c in of(actions, do.SendCancel)} == {"s1", "s2", "s3"}
    assert only(actions, do.CloseEvaluation).round == 1


def test_with_nobody_connected_it_closes_at_once_and_empty() -> None:
    play = Play()
    play.join_all()
    play.updates("s0", "s1", "s2", "s3")
    play.leave("s0", "s1", "s2", "s3")
    assert kinds(play.committed()) == ["OpenEvaluation", "CloseEvaluation"]


def test_a_member_that_is_back_in_time_evaluates() -> None:
    play = committed()
    play.leave("s0")
    play.wait(5)
    task = only(play.join("s0"), do.SendTask)
    assert (task.evaluation, task.round, task.seconds_left) == (True, 1, 115.0)


def test_a_member_that_comes_during_it_does_not_change_its_cohort() -> None:
    play = Play(job(5, rounds={"updates": 4}))
    play.join("s0", "s1", "s2", "s3")
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    assert play.join("s4") == []
    assert play.evaluate("s4") == [do.Reject("s4", "REJECTED", "NOT_IN_COHORT")]


def test_an_answer_counts_once_and_not_after_the_close() -> None:
    play = committed()
    play.evaluate("s0")
    assert play.evaluate("s0") == [do.Reject("s0", "ACCEPTED", "")]
    play.wait(120)
    assert play.evaluate("s1") == [do.Reject("s1", "ROUND_CLOSED", "")]
    assert play.tell(ev.EvaluationArrived("s1", 9, 1, 1, 5, {})) == [do.Reject("s1", "ROUND_CLOSED", "")]


def test_the_round_is_released_after_its_evaluation_and_the_next_one_opens() -> None:
    play = committed()
    assert of(play.evaluate("s0", "s1", "s2", "s3"), do.Release) == []
    assert play.phase == "Releasing"
    actions = play.evaluated(loss=0.5)
    assert kinds(actions)[:2] == ["Release", "OpenRound"]
    assert "SaveState" not in kinds(actions), "the release writes the state"


def test_only_every_so_many_rounds_are_evaluated_and_always_the_last() -> None:
    play = Play(job(rounds={"total": 5}, evaluation={"everyRounds": 2}))
    play.join_all()
    for _ in range(5):
        play.whole_round()
    assert [e.round for e in of(play.done, do.OpenEvaluation)] == [2, 4, 5]
    assert [r.round for r in of(play.done, do.Release)] == [1, 2, 3, 4, 5]


def test_without_evaluation_a_round_is_released_at_once() -> None:
    play = committed(job(evaluation={"everyRounds": 0}))
    play.whole_round()
    assert of(play.done, do.OpenEvaluation) == []
    assert only(play.done, do.Finish).outcome == "Complete"


def test_the_last_release_completes_the_job() -> None:
    play = committed()
    play.evaluate("s0", "s1", "s2", "s3")
    play.evaluated(loss=0.5)
    actions = play.whole_round(loss=0.4)
    assert kinds(actions)[-2:] == ["Release", "Finish"]
    assert (play.phase, play.reason) == ("Complete", reasons.ALL_ROUNDS_COMMITTED)
    assert play.engine.wake_at is None


def test_total_0_evaluates_the_initial_model_and_ends() -> None:
    play = Play(job(rounds={"total": 0}))
    actions = play.join_all()
    assert only(actions, do.OpenEvaluation).round == 0
    assert {t.round for t in of(actions, do.SendTask)} == {0}
    play.evaluate("s0", "s1", "s2", "s3")
    assert kinds(play.evaluated(loss=1.0)) == ["Release", "Finish"]
    assert play.phase == "Complete"


def test_total_0_without_evaluation_ends_at_once() -> None:
    assert kinds(Play(job(rounds={"total": 0}, evaluation={"everyRounds": 0})).done) == ["Finish"]


# ---- stopWhen, divergence


ACCURACY = [{"name": "accuracy", "min": 0, "max": 1}]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ({"metric": "accuracy", "atLeast": 0.9}, [0.5, 0.89, 0.9]),
        ({"metric": "loss", "atMost": 0.1}, [3.0, 0.11, 0.1]),
        ({"metric": "accuracy", "plateau": {"patience": 2, "minDelta": 0.01}}, [0.5, 0.6, 0.605, 0.595]),
        ({"metric": "loss", "plateau": {"patience": 3, "minDelta": 0.1}}, [3, 2, 1, 1, 0.95, 1.05]),
    ],
    ids=["atLeast", "atMost", "plateau of a rising metric", "plateau of a falling metric"],
)
def test_stop_when(rule: dict[str, Any], values: list[float]) -> None:
    play = Play(job(rounds={"total": 50, "stopWhen": rule}, metrics=ACCURACY))
    play.join_all()
    for value in values[:-1]:
        assert of(play.whole_round(**{rule["metric"]: value}), do.Finish) == []
    actions = play.whole_round(**{rule["metric"]: values[-1]})
    assert kinds(actions)[-2:] == ["Release", "Finish"]
    assert (play.phase, play.reason) == ("Complete", reasons.STOP_CONDITION_MET)


def test_a_withheld_metric_stops_nothing() -> None:
    play = Play(job(rounds={"total": 50, "stopWhen": {"metric": "loss", "plateau": {"patience": 1}}}))
    play.join_all()
    for _ in range(5):
        assert of(play.whole_round(), do.Finish) == []


def test_a_loss_at_the_top_of_its_range_ten_times_in_a_row_is_divergence() -> None:
    play = Play(job(rounds={"total": 50}))
    play.join_all()
    for _ in range(9):
        play.whole_round(loss=100.0)
    play.whole_round(loss=99.0)
    for _ in range(9):
        assert of(play.whole_round(loss=100.0), do.Finish) == []
    assert only(play.whole_round(loss=100.0), do.Finish).outcome == "Failed"
    assert play.reason == reasons.DIVERGED


def test_the_top_is_that_of_the_declared_range() -> None:
    play = Play(job(rounds={"total": 50}, metrics=[{"name": "loss", "min": 0, "max": 7}]))
    play.join_all()
    for _ in range(10):
        play.whole_round(loss=7.0)
    assert play.reason == reasons.DIVERGED
