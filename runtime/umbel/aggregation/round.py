"""One round's aggregation, from opening to the next model. Not thread-safe: the server uses it from one thread."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import Accumulator
from umbel.aggregation.apply import next_model
from umbel.aggregation.strategy import Admission, Aggregate, RoundStart, Strategy, StrategyError, UpdateFacts
from umbel.wire.layout import Layout

SLACK = 1 + 1e-9  # of bounds that a rule computes in another order than its scales
LARGEST_SUM = 1e200  # of one update's scalar: their sum is to fit a float64


@dataclass(frozen=True, slots=True)
class Outcome:
    """``finite``: whether the new model is. ``members``, ``examples``: of what was folded.
    ``update_norm``: 2-norm of the mean update's trained part."""

    finite: bool
    members: int
    examples: int
    update_norm: float


class RoundAggregation:
    """Memory: the accumulator, once for all rounds. ``largest_rescale``: of partial work, ≥ 1."""

    def __init__(
        self, down: Layout, up: Layout, strategy: Strategy, *, max_abs: float, largest_rescale: float = 1.0
    ) -> None:
        self.strategy = strategy
        self._down = down
        self._bound = max_abs * largest_rescale
        self._largest_rescale = largest_rescale
        self._accumulator = Accumulator(up)
        self._sums: dict[str, Fraction] = defaultdict(Fraction)  # without rounding: the same in any order
        self._examples = 0

    def open(self, start: RoundStart) -> None:
        self.strategy.configure(start)
        self._sums.clear()
        self._examples = 0
        self._accumulator.reset(
            weight_bound=self.strategy.weight_bound(), trained_bound=self._bound * self.strategy.scale_bound()
        )

    def fold(self, update: NDArray[np.uint8], facts: UpdateFacts, rescale: float = 1.0) -> None:
        """Add an examined update and overwrite its bytes. ``rescale`` multiplies its trained components.

        Raises StrategyError before anything but ``update`` is changed, if the rule refuses the update or breaks its own
        bounds.
        """
        try:
            admission = self._admit(facts, rescale)
            self._check_weight(admission.weight)
        except StrategyError:
            update[...] = 0
            raise
        self._accumulator.fold(update, admission.weight, admission.scale * rescale, wipe=True)
        self._examples += facts.examples
        for name, value in admission.sums.items():
            self._sums[name] += Fraction(value)

    def refusal(self, facts: UpdateFacts, rescale: float = 1.0) -> str | None:
        """Why the rule would refuse an update like this, briefly; None if it would take it. Changes nothing.

        To be asked before the update is counted: one that counts and is not in the sum would undermine the smallest
        cohort.
        """
        try:
            self._admit(facts, rescale)
        except StrategyError as error:
            return str(error)
        return None

    def _admit(self, facts: UpdateFacts, rescale: float) -> Admission:
        """The bounds are what makes the sum exact: a rule that exceeds its own is not believed."""
        admission = self.strategy.admit(replace(facts, norm=facts.norm * rescale))
        name = type(self.strategy).__name__
        if not abs(admission.scale) <= self.strategy.scale_bound() * SLACK:
            raise StrategyError(f"{name}: scale {admission.scale} is beyond scale_bound")
        if not 0 <= rescale <= self._largest_rescale * SLACK:
            raise StrategyError(f"{name}: an update is rescaled by {rescale}, beyond spec.rounds.rescaleCap")
        if not all(abs(value) <= LARGEST_SUM for value in admission.sums.values()):
            raise StrategyError(f"{name}: a scalar of this update is not a usable number")
        return admission

    def _check_weight(self, weight: float) -> None:
        bound = self.strategy.weight_bound() * SLACK
        if not weight > 0 or not self._accumulator.weight + weight <= bound:
            raise StrategyError(
                f"{type(self.strategy).__name__}: weight {weight} is not above 0 and within weight_bound"
            )

    def finish(self, model: NDArray[np.uint8], out: NDArray[np.uint8]) -> Outcome:
        """Close the round into ``out`` (may be ``model``, and is no model where the outcome is not finite). Without a
        single update the model stays what it is."""
        accumulator = self._accumulator
        if not accumulator.members:
            out[...] = model
            return Outcome(True, 0, 0, 0.0)
        sums = {name: float(total) for name, total in self._sums.items()}
        aggregate = Aggregate(accumulator.weight, accumulator.members, sums)
        applied = next_model(model, self._down, accumulator, self.strategy, aggregate, out)
        self._sums.clear()
        return Outcome(applied.finite, accumulator.members, self._examples, applied.norm)

    def discard(self) -> None:
        """The attempt is abandoned: nothing of it is kept."""
        self._sums.clear()
        self._accumulator.clear()
        self._examples = 0
