"""Members that wait in the queue of their site: nobody waits for them, and nothing is counted against them."""

from __future__ import annotations

from unit.rounds.play import Play, job, last, of, only

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds import reasons

UNEVALUATED = {"everyRounds": 0}


def queued(play: Play, *silos: str) -> list[do.Action]:
    return play.tell(ev.QueuedChanged(frozenset(silos)))


def test_the_quorum_opens_at_once_when_the_rest_is_queued() -> None:
    play = Play()
    play.join("s0", "s1", "s2")
    assert of(play.wait(5), do.OpenRound) == []
    assert set(only(queued(play, "s3"), do.OpenRound).cohort) == {"s0", "s1", "s2"}


def test_who_is_away_and_not_queued_is_waited_for_as_ever() -> None:
    play = Play(job(silos=5))
    play.join("s0", "s1", "s2")
    assert of(queued(play, "s3"), do.OpenRound) == []
    assert of(play.wait(59), do.OpenRound) == []
    assert of(play.wait(1), do.OpenRound)


def test_fewer_than_the_quorum_wait_and_say_for_whom() -> None:
    play = Play()
    play.join("s0", "s1")
    queued(play, "s2", "s3", "stranger")
    assert of(play.wait(3600), do.OpenRound) == []
    assert play.reason == reasons.QUORUM_NOT_CONNECTED
    message = "2 members are connected; a round needs 3; 2 wait in the queues of their sites"
    assert play.engine.view(play.now).message == message
    assert of(play.join("s2"), do.OpenRound), "and with the third, nobody waits for the fourth"


def test_for_who_has_left_the_queue_the_wait_begins() -> None:
    """Its job starts, and its session is some seconds away."""
    play = Play()
    play.join("s0", "s1", "s2")
    play.tell(ev.Suspended())
    queued(play, "s3")
    play.wait(500)
    queued(play)
    play.tell(ev.Resumed())
    assert of(play.wait(10), do.OpenRound) == []
    assert "s3" in only(play.join("s3"), do.OpenRound).cohort


def test_an_open_round_does_not_wait_for_one_that_was_put_back_into_the_queue() -> None:
    play = Play(job(rounds={"overSelection": 1}))
    play.join_all()
    play.updates("s0", "s1", "s2")
    play.leave("s3")
    assert play.phase == "Training", "a stream that breaks is usually back in 15 s"
    closed = only(queued(play, "s3"), do.Commit)
    assert (closed.outcomes.lost, closed.outcomes.queued) == (1, 1)


def test_nor_does_an_evaluation() -> None:
    play = Play()
    play.join_all()
    play.updates("s0", "s1", "s2", "s3")
    play.committed()
    play.evaluate("s0", "s1", "s2")
    play.leave("s3")
    assert play.phase == "Evaluating"
    assert only(queued(play, "s3"), do.CloseEvaluation).round == 1


def test_a_session_is_believed_before_what_was_said_of_a_queue() -> None:
    """What the operator says may be some seconds old."""
    play = Play()
    queued(play, "s3")
    play.join("s3")
    queued(play, "s3")
    play.join("s0", "s1", "s2")
    play.updates("s0", "s1", "s2")
    play.leave("s3")
    assert play.phase == "Training"
    assert of(play.wait(14.9), do.Commit) == []
    assert only(play.wait(0.1), do.Commit).outcomes.queued == 0


def rounds_with_one_lost(*, told: bool) -> int:
    """How many are invited of twenty after a round in which two of five did not come back."""
    play = Play(job(20, rounds={"updates": 5}, evaluation=UNEVALUATED))
    play.join_all()
    opened = last(play.done, do.OpenRound)
    away = list(opened.cohort)[3:]
    play.updates(*list(opened.cohort)[:3])
    play.leave(*away)
    if told:
        queued(play, *away)
    play.wait(15)
    return len(only(play.committed(), do.OpenRound).cohort)


def test_being_queued_is_no_failure_to_return() -> None:
    assert rounds_with_one_lost(told=True) == 5, "everybody who could come back has"
    assert rounds_with_one_lost(told=False) > 8


def test_a_server_that_starts_again_knows_of_no_queue_until_it_is_told() -> None:
    play = Play()
    play.join("s0", "s1")
    queued(play, "s3")
    again = play.restart()
    again.join("s0", "s1", "s2")
    assert of(again.wait(54), do.OpenRound) == []
    assert of(queued(again, "s3"), do.OpenRound)
