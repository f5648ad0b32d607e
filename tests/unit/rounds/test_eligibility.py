"""Silos whose own rules keep them away for a while: not asked again until they say so, and held against no job."""

from __future__ import annotations

import pytest

from umbel.rounds import actions as do
from umbel.rounds import reasons

from .play import Play, job, last, of

NOT_ELIGIBLE = "DECLINE_NOT_ELIGIBLE"


def away(play: Play, *silos: str) -> None:
    for silo in silos:
        play.decline(silo, reason=NOT_ELIGIBLE)


def test_the_round_closes_without_it_and_the_next_does_not_invite_it() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join_all()
    away(play, "s0")
    play.updates("s1", "s2", "s3")
    assert last(play.done, do.Commit).outcomes.declined == 1
    play.committed()
    assert set(last(play.done, do.OpenRound).cohort) == {"s1", "s2", "s3"}


def test_it_is_invited_again_once_it_declares_again_or_has_a_new_session() -> None:
    for back in (lambda play: play.declare("s0"), lambda play: play.join("s0")):
        play = Play(job(evaluation={"everyRounds": 0}))
        play.join_all()
        away(play, "s0")
        back(play)
        play.updates("s1", "s2", "s3")
        play.committed()
        assert set(last(play.done, do.OpenRound).cohort) == {"s0", "s1", "s2", "s3"}


def test_another_reason_keeps_nobody_away() -> None:
    play = Play(job(evaluation={"everyRounds": 0}))
    play.join_all()
    play.decline("s0")
    play.updates("s1", "s2", "s3")
    play.committed()
    assert "s0" in last(play.done, do.OpenRound).cohort


def test_an_evaluation_that_is_declined_keeps_away_too() -> None:
    play = Play()
    play.join_all()
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    play.decline("s0", evaluation=True, reason=NOT_ELIGIBLE)
    play.evaluate("s1", "s2", "s3")
    play.evaluated()
    assert set(last(play.done, do.OpenRound).cohort) == {"s1", "s2", "s3"}


def test_a_job_waits_through_the_day_of_silos_that_work_at_night() -> None:
    """However often: an attempt that lacked only them is not one of those that fail the job."""
    play = Play(job(rounds={"maxConsecutiveAbandoned": 2}))
    play.join_all()
    for _ in range(5):
        away(play, "s0", "s1")
        assert not last(play.done, do.Abandon).counted
        assert (play.phase, play.reason) == ("Gathering", reasons.QUORUM_NOT_ELIGIBLE)
        opened = len(of(play.done, do.OpenRound))
        play.wait(10_000)
        assert len(of(play.done, do.OpenRound)) == opened, "nobody can be asked"
        play.declare("s0")
        assert set(last(play.done, do.OpenRound).cohort) == {"s0", "s2", "s3"}
        play.declare("s1")
        away(play, "s0")
        play.declare("s0")


@pytest.mark.parametrize("gone", [False, True])
def test_who_is_too_late_or_gone_is_to_blame_besides(gone: bool) -> None:
    play = Play()
    play.join_all()
    away(play, "s0")
    play.update("s1")
    if gone:
        play.leave("s2", "s3")
    play.wait(100)
    assert last(play.done, do.Abandon).counted


def test_an_attempt_that_failed_for_other_reasons_too_counts() -> None:
    play = Play()
    play.join_all()
    away(play, "s0")
    play.decline("s1")
    play.decline("s2")
    assert last(play.done, do.Abandon).counted


@pytest.mark.parametrize("reason", ["DECLINE_ERROR", NOT_ELIGIBLE])
def test_a_decline_is_an_invitation_that_did_not_return(reason: str) -> None:
    """Also of an attempt that is abandoned for it: more are invited next time."""
    play = Play(job(8, rounds={"total": 3, "updates": 3, "quorum": 3}, evaluation={"everyRounds": 0}))
    play.join_all()
    returns = play.engine.snapshot
    assert returns()["returns"]["resolved"] == 0
    first = last(play.done, do.OpenRound).cohort
    assert len(first) < 8
    for silo in first:
        play.decline(silo, reason=reason)
        play.declare(silo)
        if of(play.done, do.Abandon):
            break
    after = returns()["returns"]
    assert after["returned"] == 0
    assert after["resolved"] >= 1
    assert len(last(play.done, do.OpenRound).cohort) > len(first)
