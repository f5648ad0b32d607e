"""What leaves: declared names, clipped, above the floors, once for a phase and a model version."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.aggregation.release import (
    BELOW_MIN_COHORT,
    BELOW_MIN_EXAMPLES,
    NOT_FINITE,
    REPEATED,
    UNDECLARED,
    Floors,
    Released,
    Releaser,
)

RANGES = {"loss": (0.0, 100.0), "accuracy": (0.0, 1.0)}
Report = tuple[int, dict[str, float]]


def releaser() -> Releaser:
    return Releaser(RANGES, Floors(min_cohort=3, min_examples=11))


def release(reports: list[Report], by: Releaser | None = None, phase: str = "train", version: int = 1) -> Released:
    by = by or releaser()
    reducer = by.reducer()
    for examples, values in reports:
        reducer.add(examples, values)
    return by.release(phase, version, reducer)


def test_means_are_weighted_by_examples() -> None:
    released = release([(10, {"loss": 1.0}), (20, {"loss": 2.0}), (70, {"loss": 4.0})])
    assert released.values == {"loss": pytest.approx(3.3)}
    assert (released.examples, dict(released.withheld)) == (100, {})


@pytest.mark.parametrize(
    ("reports", "reason"),
    [
        ([(50, {"loss": 1.0})] * 2, BELOW_MIN_COHORT),
        ([(3, {"loss": 1.0})] * 3, BELOW_MIN_EXAMPLES),
        ([(0, {"loss": 1.0})] * 2 + [(50, {"loss": 1.0})] * 2, BELOW_MIN_COHORT),
    ],
)
def test_below_a_floor_nothing_leaves(reports: list[Report], reason: str) -> None:
    released = release(reports)
    assert (released.values, released.examples, dict(released.withheld)) == ({}, None, {reason: 1})


@pytest.mark.parametrize("count", [3, 4])
def test_the_floors_themselves_are_enough(count: int) -> None:
    released = release([(4, {"loss": 1.0})] * count)
    assert (released.values, released.examples) == ({"loss": 1.0}, 4 * count)


def test_each_name_needs_its_own_cohort() -> None:
    released = release([(10, {"loss": 1.0, "accuracy": 0.5})] * 2 + [(10, {"loss": 1.0})] * 2)
    assert released.values == {"loss": 1.0}
    assert dict(released.withheld) == {BELOW_MIN_COHORT: 1}


def test_a_value_that_is_dropped_does_not_count_towards_the_cohort() -> None:
    released = release([(10, {"loss": 1.0})] * 2 + [(10, {"loss": math.nan})])
    assert released.values == {}
    assert dict(released.withheld) == {NOT_FINITE: 1, BELOW_MIN_COHORT: 1}


def test_values_are_clipped_infinities_too() -> None:
    reports = [(10, {"loss": math.inf, "accuracy": -5.0}), (10, {"loss": 1e9, "accuracy": 2.0})]
    released = release([*reports, (20, {"loss": -math.inf, "accuracy": 0.5})])
    assert released.values == {"loss": 50.0, "accuracy": 0.5}


def test_undeclared_names_are_dropped_and_counted() -> None:
    released = release([(10, {"loss": 1.0, "host-a.example.org": 1.0})] * 3)
    assert released.values == {"loss": 1.0}
    assert dict(released.withheld) == {UNDECLARED: 3}


def test_a_name_leaves_once_for_a_phase_and_version() -> None:
    by, reports = releaser(), [(10, {"loss": 1.0})] * 4
    assert release(reports, by).values == {"loss": 1.0}
    again = release(reports[:3], by)
    assert (again.values, dict(again.withheld)) == ({}, {REPEATED: 1})
    assert release(reports, by, phase="evaluate").values == {"loss": 1.0}
    assert release(reports, by, version=2).values == {"loss": 1.0}


def test_an_older_version_has_had_its_turn() -> None:
    by, reports = releaser(), [(10, {"loss": 1.0})] * 4
    release(reports, by, version=5)
    assert release(reports, by, version=4).values == {}


def test_what_an_earlier_process_released_is_not_released_again() -> None:
    by, reports = releaser(), [(10, {"loss": 1.0, "accuracy": 0.5})] * 4
    by.remember("evaluate", 3, {"loss": 1.0})
    released = release(reports, by, phase="evaluate", version=3)
    assert released.values == {"accuracy": 0.5}
    assert dict(released.withheld) == {REPEATED: 1}


def test_what_never_left_the_process_may_leave_at_the_next_try() -> None:
    by, reports = releaser(), [(10, {"loss": 1.0})] * 4
    by.take_back("train", 3, release(reports, by, phase="train", version=3).values)
    assert release(reports, by, phase="train", version=3).values == {"loss": 1.0}
    assert release(reports, by, phase="train", version=2).values == {}


def test_what_was_below_a_floor_may_still_leave_later() -> None:
    by = releaser()
    release([(10, {"loss": 1.0})] * 2, by)
    assert release([(10, {"loss": 1.0})] * 3, by).values == {"loss": 1.0}


numbers = st.floats(allow_nan=True, allow_infinity=True)
reports_of_any_kind = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.dictionaries(st.sampled_from(["loss", "accuracy", "other"]), numbers, max_size=3),
    ),
    max_size=8,
)


@given(reports_of_any_kind)
def test_nothing_leaves_below_a_floor_or_outside_its_range(reports: list[Report]) -> None:
    released = release(reports)
    for name, value in released.values.items():
        behind = [n for n, values in reports if n >= 1 and name in values and not math.isnan(values[name])]
        assert name in RANGES
        assert len(behind) >= 3
        assert sum(behind) >= 11
        assert RANGES[name][0] <= value <= RANGES[name][1]
    counted = [n for n, _ in reports if n >= 1]
    assert released.examples == (sum(counted) if len(counted) >= 3 and sum(counted) >= 11 else None)


@given(reports_of_any_kind, st.randoms(use_true_random=False))
def test_no_order_changes_a_bit(reports: list[Report], random: Any) -> None:
    first = release(reports)
    random.shuffle(reports)
    assert release(reports) == first
