"""What of the silos' numbers may be published: weighted means of clipped values, above the floors, once.

Pure. Rules: only declared names (others dropped and counted); values clipped to the declared range, NaN dropped; at
least ``minCohort`` silos and ``minExamples`` examples behind every single value; a name once released for a phase and
model version is not released again, since the difference of two releases could be one silo's value. That is stricter
than comparing cohorts, and needs none to be stored.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

NOT_FINITE = "not_finite"
UNDECLARED = "undeclared"
BELOW_MIN_COHORT = "below_min_cohort"
BELOW_MIN_EXAMPLES = "below_min_examples"
REPEATED = "repeated"
REASONS = (NOT_FINITE, UNDECLARED, BELOW_MIN_COHORT, BELOW_MIN_EXAMPLES, REPEATED)


@dataclass(frozen=True, slots=True)
class Floors:
    min_cohort: int
    min_examples: int

    def fault(self, members: int, examples: int) -> str | None:
        if members < self.min_cohort:
            return BELOW_MIN_COHORT
        return BELOW_MIN_EXAMPLES if examples < self.min_examples else None


@dataclass(frozen=True, slots=True)
class Released:
    """``examples`` None: withheld. ``withheld`` counts by reason, one of `REASONS`."""

    values: dict[str, float]
    examples: int | None
    withheld: Mapping[str, int]


@dataclass
class Sum:
    """Of one name. ``total``: Σ examples·value, without rounding and hence the same in any order."""

    members: int = 0
    examples: int = 0
    total: Fraction = Fraction()


@dataclass
class Reducer:
    """Gathers one phase of one round: sums only. ``ranges``: name -> (min, max) of what may be released."""

    ranges: Mapping[str, tuple[float, float]]
    members: int = 0
    examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sums: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))

    def add(self, examples: int, values: Mapping[str, float]) -> None:
        """One silo's report; one without examples says nothing."""
        if examples < 1:
            return
        self.members += 1
        self.examples += examples
        for name, value in values.items():
            if name not in self.ranges:
                self.dropped[UNDECLARED] += 1
            elif math.isnan(value):
                self.dropped[NOT_FINITE] += 1
            else:
                low, high = self.ranges[name]
                sum_ = self.sums[name]
                sum_.members += 1
                sum_.examples += examples
                sum_.total += examples * Fraction(min(max(value, low), high))


class Releaser:
    """The floors of a job, and what it has released already."""

    def __init__(self, ranges: Mapping[str, tuple[float, float]], floors: Floors) -> None:
        self._ranges = ranges
        self._floors = floors
        self._released: dict[tuple[str, str], int] = {}  # (phase, name) -> newest model version

    def reducer(self) -> Reducer:
        return Reducer(self._ranges)

    def remember(self, phase: str, version: int, names: Mapping[str, float]) -> None:
        """Names that were released for a version, by this process or one before it."""
        for name in names:
            self._released[phase, name] = max(version, self._released.get((phase, name), -1))

    def take_back(self, phase: str, version: int, names: Mapping[str, float]) -> None:
        """What `release` gave never left the process: the round was not recorded and is tried again."""
        for name in names:
            self._released[phase, name] = version - 1

    def release(self, phase: str, version: int, reducer: Reducer) -> Released:
        """The values of ``phase`` on the model of ``version`` that may leave; everything else counted."""
        withheld = Counter(reducer.dropped)
        values: dict[str, float] = {}
        for name, sum_ in sorted(reducer.sums.items()):
            fault = self._floors.fault(sum_.members, sum_.examples)
            if fault is None and self._released.get((phase, name), -1) >= version:
                fault = REPEATED
            if fault is not None:
                withheld[fault] += 1
            else:
                values[name] = float(sum_.total / sum_.examples)
        self.remember(phase, version, values)
        above = self._floors.fault(reducer.members, reducer.examples) is None
        return Released(values, reducer.examples if above else None, withheld)
