"""When an upload has to make room for those who wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.server.pace import MIN_SECONDS, on_course

NUMBERS = st.integers(0, 1000)


@given(received=NUMBERS, length=NUMBERS, elapsed=st.floats(0, 1e6), left=st.floats(0, 1e6), slots=st.integers(1, 50))
def test_while_nobody_waits_everybody_keeps_the_slot(
    received: int, length: int, elapsed: float, left: float, slots: int
) -> None:
    assert on_course(received=received, length=length, elapsed=elapsed, seconds_left=left, slots=slots, waiting=0)


@given(received=NUMBERS, waiting=st.integers(1, 50))
def test_nobody_is_judged_by_the_first_moment(received: int, waiting: int) -> None:
    elapsed = MIN_SECONDS * 0.99
    assert on_course(received=received, length=1000, elapsed=elapsed, seconds_left=0, slots=1, waiting=waiting)


def test_who_sends_nothing_while_others_wait_goes() -> None:
    assert not on_course(received=0, length=1000, elapsed=1, seconds_left=1e9, slots=9, waiting=1)


@pytest.mark.parametrize(
    ("received", "waiting", "keeps"),
    [(500, 1, True), (100, 1, False), (200, 1, True), (200, 3, False), (334, 3, True), (1000, 50, True)],
)
def test_the_time_left_is_shared(received: int, waiting: int, keeps: bool) -> None:
    """100 s into the round with 800 s left and one slot: with one waiting an upload may need 400 s more, with three
    200 s."""
    assert on_course(received=received, length=1000, elapsed=100, seconds_left=800, slots=1, waiting=waiting) is keeps


@given(received=st.integers(1, 1000), elapsed=st.floats(1, 1e4), left=st.floats(0, 1e4), waiting=st.integers(1, 20))
def test_faster_or_fewer_waiting_never_hurts(received: int, elapsed: float, left: float, waiting: int) -> None:
    def keeps(received: int, waiting: int) -> bool:
        return on_course(received=received, length=1000, elapsed=elapsed, seconds_left=left, slots=2, waiting=waiting)

    if keeps(received, waiting):
        assert keeps(min(1000, received + 100), waiting)
        assert keeps(received, waiting - 1)
