"""How many are invited, and who."""

from __future__ import annotations

from collections import Counter
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.rounds.actions import RoundOutcomes
from umbel.rounds.returnrate import UNOBSERVED, ReturnRate
from umbel.rounds.selection import invitations, select


def probability(n: int, q: float, k: int) -> float:
    """P(Bin(n, q) ≥ k), by its definition."""
    return sum(comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k, n + 1))


@given(st.integers(1, 40), st.floats(0.3, 0.99))
def test_the_smallest_number_that_brings_the_wanted_with_95_percent(wanted: int, rate: float) -> None:
    n = invitations(wanted, rate, 10_000)
    assert n >= wanted
    assert probability(n, rate, wanted) >= 0.95 - 1e-9
    assert n == wanted or probability(n - 1, rate, wanted) < 0.95 + 1e-9


@pytest.mark.parametrize(
    ("wanted", "rate", "available", "n"), [(10, 1.0, 50, 10), (10, 0.92, 10, 10), (1000, 0.05, 1000, 1000)]
)
def test_bounds(wanted: int, rate: float, available: int, n: int) -> None:
    assert invitations(wanted, rate, available) == n


def test_the_same_seed_round_and_attempt_select_the_same() -> None:
    silos = {f"s{i}": i + 1 for i in range(50)}
    backwards = dict(reversed(silos.items()))
    for by_examples in (False, True):
        first = select(silos, 7, by_examples=by_examples, seed=3, round=4, attempt=1)
        assert first == select(backwards, 7, by_examples=by_examples, seed=3, round=4, attempt=1)
        assert first != select(silos, 7, by_examples=by_examples, seed=3, round=4, attempt=2)
        assert first != select(silos, 7, by_examples=by_examples, seed=3, round=5, attempt=1)
        assert first != select(silos, 7, by_examples=by_examples, seed=4, round=4, attempt=1)


def test_uniform_gives_everybody_the_same_chance_and_by_examples_does_not() -> None:
    silos = {"small": 1, "middle": 2, "large": 7}
    drawn: Counter[tuple[bool, str]] = Counter()
    for by_examples in (False, True):
        for round in range(4000):
            (silo,) = select(silos, 1, by_examples=by_examples, seed=0, round=round, attempt=1)
            drawn[by_examples, silo] += 1
    assert [drawn[False, s] / 4000 for s in silos] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert [drawn[True, s] / 4000 for s in silos] == pytest.approx([0.1, 0.2, 0.7], abs=0.03)


def test_the_return_rate_is_a_guess_until_observed_and_then_follows_what_happens() -> None:
    rate = ReturnRate()
    assert rate.estimate == UNOBSERVED
    rate.observe(RoundOutcomes(10, 5, 1, 1, {"NOT_FINITE": 1}, 1, 1))
    assert rate.estimate == pytest.approx(0.6)
    for _ in range(60):
        rate.observe(RoundOutcomes(10, 10, 0, 0, {}, 0, 0))
    assert rate.estimate > 0.99
    assert ReturnRate.from_json(rate.to_json()) == rate


def test_who_was_cut_off_by_the_goal_does_not_lower_it() -> None:
    rate = ReturnRate()
    rate.observe(RoundOutcomes(10, 5, 0, 0, {}, 0, 0))
    assert rate.estimate == 1.0
