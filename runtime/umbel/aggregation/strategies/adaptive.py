"""FedAdagrad, FedYogi, FedAdam (Reddi 2020, arXiv 2003.00295), without bias correction, as in the paper.

m ← b1·m + (1 − b1)Δ; v by the rule; x += η·m/(√v + τ); v starts at τ².
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from umbel.aggregation.accumulator import BLOCK
from umbel.aggregation.strategies.stateful import Stateful
from umbel.aggregation.strategy import Aggregate, Floats


class Adaptive(Stateful):
    """Two float64 values of state per trained component."""

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        super().__init__(parameters, weighting)
        self._square = np.empty(BLOCK)
        self.scratch = np.empty(BLOCK)

    def initial(self) -> dict[str, float]:
        return {"first": 0.0, "second": self.parameters["tau"] ** 2}

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        first, second = self.arrays["first"][where], self.arrays["second"][where]
        square = np.multiply(mean, mean, out=self._square[: len(mean)])
        first *= self.parameters["beta1"]
        mean *= 1 - self.parameters["beta1"]
        first += mean
        self.second_moment(second, square)
        np.sqrt(second, out=square)
        square += self.parameters["tau"]
        np.divide(first, square, out=mean)
        mean *= self.rate
        return mean

    @abstractmethod
    def second_moment(self, second: Floats, square: Floats) -> None:
        """Update v in place from Δ², which may be overwritten."""


class FedAdagrad(Adaptive):
    """v ← v + Δ²."""

    def second_moment(self, second: Floats, square: Floats) -> None:
        second += square


class FedYogi(Adaptive):
    """v ← v − (1 − b2)·Δ²·sign(v − Δ²)."""

    def second_moment(self, second: Floats, square: Floats) -> None:
        sign = np.subtract(second, square, out=self.scratch[: len(second)])
        np.sign(sign, out=sign)
        square *= 1 - self.parameters["beta2"]
        square *= sign
        second -= square


class FedAdam(Adaptive):
    """v ← b2·v + (1 − b2)·Δ²."""

    def second_moment(self, second: Floats, square: Floats) -> None:
        second *= self.parameters["beta2"]
        square *= 1 - self.parameters["beta2"]
        second += square
