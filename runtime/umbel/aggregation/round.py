"""One round's aggregation, from opening to the next model. Not thread-safe: the server uses it from one thread."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import fsum

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import Accumulator
from umbel.aggregation.apply import next_model
from umbel.aggregation.strategy import Aggregate, RoundStart, Strategy, StrategyError, UpdateFacts
from umbel.wire.layout import Layout


@dataclass(frozen=True, slots=True)
class Outcome:
    """``finite``: whether the new model is; ``update_norm``: 2-norm of the mean update's trained part."""

    finite: bool
    members: int
    update_norm: float


class RoundAggregation:
    """Memory: the accumulator, once for all rounds. ``largest_rescale``: of partial work, ≥ 1."""

    def __init__(
        self, down: Layout, up: Layout, strategy: Strategy, *, max_abs: float, largest_rescale: float = 1.0
    ) -> None:
        self.strategy = strategy
        self._down = down
        self._bound = max_abs * largest_rescale
        self._accumulator = Accumulator(up)
        self._sums: dict[str, list[float]] = defaultdict(list)

    def open(self, start: RoundStart) -> None:
        self.strategy.configure(start)
        self._sums.clear()
        self._accumulator.reset(
            weight_bound=self.strategy.weight_bound(), trained_bound=self._bound * self.strategy.scale_bound()
        )

    def fold(self, update: NDArray[np.uint8], facts: UpdateFacts, rescale: float) -> None:
        """Add an examined update and overwrite its bytes. Raises StrategyError before anything is changed."""
        admission = self.strategy.admit(replace(facts, norm=facts.norm * rescale))
        self._accumulator.fold(update, admission.weight, admission.scale * rescale, wipe=True)
        for name, value in admission.sums.items():
            self._sums[name].append(value)

    def refusal(self, facts: UpdateFacts, rescale: float) -> str | None:
        """Why `fold` would raise StrategyError for an update like this; None if it would not. Changes nothing."""
        try:
            self.strategy.admit(replace(facts, norm=facts.norm * rescale))
        except StrategyError as error:
            return str(error)
        return None

    def finish(self, model: NDArray[np.uint8], out: NDArray[np.uint8]) -> Outcome:
        """Close the round into ``out`` (may be ``model``). At least one update must have been folded."""
        accumulator = self._accumulator
        # fsum is correctly rounded, so these sums too are the same in any order.
        sums = {name: fsum(values) for name, values in self._sums.items()}
        aggregate = Aggregate(accumulator.weight, accumulator.members, sums)
        applied = next_model(model, self._down, accumulator, self.strategy, aggregate, out)
        self._sums.clear()
        return Outcome(applied.finite, accumulator.members, applied.norm)

    def discard(self) -> None:
        """The attempt is abandoned; `open` clears the sums."""
        self._sums.clear()
