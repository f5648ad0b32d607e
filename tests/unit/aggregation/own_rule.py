"""Rules of one's own, as ``module:Class`` finds them: a good one, and some that are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, Strategy, StrategyError, UpdateFacts


class Scaled(Strategy):
    """x += mean(factor · D), uniformly; refuses a loss above 10."""

    defaults: ClassVar[Mapping[str, float | None]] = {"factor": None, "bound": 1.0}

    def configure(self, start: RoundStart) -> None:
        self._members = float(start.members)

    def weight_bound(self) -> float:
        return self._members

    def scale_bound(self) -> float:
        return self.parameters["bound"]

    def admit(self, facts: UpdateFacts) -> Admission:
        if facts.scalars.get("training_loss", 0.0) > 10:
            raise StrategyError("a loss above 10")
        return Admission(1.0, self.parameters["factor"], {"loss": facts.scalars.get("training_loss", 0.0)})

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        return mean


class Heavy(Scaled):
    """Breaks its own bound on weights."""

    def admit(self, facts: UpdateFacts) -> Admission:
        return Admission(self._members * 2)


class Diverging(Scaled):
    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean[0] = float("inf")
        return mean


class Unfinished(Scaled):
    step = Strategy.step  # still abstract


class NoRule:
    pass
