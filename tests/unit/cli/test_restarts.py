"""When a dead process is started again, and when a run gives up."""

from __future__ import annotations

import pytest

from umbel.cli.running.restarts import Again, Done, GaveUp, Restarts, describe, shortfall


def test_five_new_starts_with_growing_pauses_then_no_more() -> None:
    restarts, now, pauses = Restarts(frozenset({0})), 100.0, []
    for _ in range(5):
        restarts.started(now)
        now += 3.0
        decision = restarts.ended(1, now)
        assert isinstance(decision, Again)
        pauses.append(decision.at - now)
        now = decision.at
    assert pauses == [1, 2, 4, 8, 16]
    restarts.started(now)
    assert restarts.ended(1, now + 3.0) == GaveUp("ended with exit code 1, after 5 new starts")


def test_a_minute_alive_gives_all_five_back() -> None:
    restarts, now = Restarts(frozenset({0})), 0.0
    for _ in range(20):
        restarts.started(now)
        now += 60.0
        assert restarts.ended(-9, now) == Again(now + 1.0, "was killed by SIGKILL")


def test_just_under_a_minute_does_not() -> None:
    restarts = Restarts(frozenset({0}))
    restarts.started(0.0)
    assert restarts.ended(1, 59.0) == Again(60.0, "ended with exit code 1")
    restarts.started(60.0)
    assert restarts.ended(1, 119.0) == Again(121.0, "ended with exit code 1")


@pytest.mark.parametrize("code", [0, 1])
def test_a_server_that_ended_complete_or_failed_is_done(code: int) -> None:
    restarts = Restarts(frozenset({0, 1}))
    restarts.started(0.0)
    assert restarts.ended(code, 1.0) == Done()


def test_a_server_that_somebody_stopped_is_started_again() -> None:
    restarts = Restarts(frozenset({0, 1}))
    restarts.started(0.0)
    assert isinstance(restarts.ended(75, 1.0), Again)


def test_a_bad_configuration_is_never_tried_again() -> None:
    restarts = Restarts(frozenset({0}))
    restarts.started(0.0)
    assert restarts.ended(2, 0.1) == GaveUp("ended with exit code 2", misconfigured=True)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (-15, "was killed by SIGTERM"), (-200, "was killed by signal 200")],
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe(code) == words


def test_a_job_goes_on_while_the_quorum_is_alive() -> None:
    assert shortfall(4, {"a": "ended with exit code 1"}, quorum=3) is None


def test_fewer_live_silos_than_the_quorum_end_it_with_the_reason() -> None:
    failed = {"b": "was killed by SIGKILL", "a": "ended with exit code 1"}
    assert shortfall(4, failed, quorum=3) == (
        "TooFewSilos: 2 of 4 silos are left and the quorum is 3 (a ended with exit code 1; b was killed by SIGKILL)"
    )


def test_a_long_list_of_failed_silos_is_cut() -> None:
    failed = {f"s{n}": "ended with exit code 1" for n in range(8)}
    assert str(shortfall(10, failed, quorum=3)).endswith("; and 5 more)")
