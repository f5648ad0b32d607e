"""A first change is acted on at once, a burst of them in one pass, and many servers are looked at less often each."""

from __future__ import annotations

from umbel_operator.hub import pace


def test_an_idle_loop_goes_on_at_once() -> None:
    assert pace.pause(since=60.0, took=0.05, jitter=1.5) == 0.0


def test_a_busy_one_lets_a_burst_come_together_and_rests_as_long_as_it_worked() -> None:
    assert pace.pause(since=0.0, took=0.01, jitter=1.0) == pace.SETTLE_SECONDS
    assert pace.pause(since=0.0, took=2.0, jitter=1.0) == 2.0
    assert pace.pause(since=0.5, took=2.0, jitter=1.0) == 1.5


def test_each_server_is_looked_at_every_second_until_there_are_many() -> None:
    assert pace.poll_seconds(0) == pace.poll_seconds(50) == 1.0
    assert pace.poll_seconds(1000) == 20.0
