"""FedAdagrad, FedYogi, FedAdam (Reddi 2020, arXiv 2003.00295), without bias correction, as in the paper.

m ← b1·m + (1 − b1)Δ; v by the rule; x += η·m/(√v + τ); v starts at τ².
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats


class Adaptive(FedAvg):
    """Two float64 values of state per trained component."""

    _first: Floats | None = None
    _second: Floats | None = None

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        if self._first is None or self._second is None:
            self._first = np.zeros(trained)
            self._second = np.full(trained, self.parameters["tau"] ** 2)

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        assert self._first is not None and self._second is not None, "begin_step comes before the first block"
        first, second, beta1 = self._first[where], self._second[where], self.parameters["beta1"]
        square = mean * mean
        first *= beta1
        mean *= 1 - beta1
        first += mean
        self.second_moment(second, square)
        np.sqrt(second, out=square)
        square += self.parameters["tau"]
        np.divide(first, square, out=mean)
        mean *= self.parameters["serverLearningRate"]
        return mean

    @abstractmethod
    def second_moment(self, second: Floats, square: Floats) -> None:
        """Update v in place from Δ², which may be overwritten."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        if self._first is None or self._second is None:
            return {}
        return {"first": self._first, "second": self._second}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self._first = np.array(state["first"], dtype=np.float64) if "first" in state else None
        self._second = np.array(state["second"], dtype=np.float64) if "second" in state else None


class FedAdagrad(Adaptive):
    """v ← v + Δ²"""

    def second_moment(self, second: Floats, square: Floats) -> None:
        second += square


class FedYogi(Adaptive):
    """v ← v − (1 − b2)Δ²·sign(v − Δ²)"""

    def second_moment(self, second: Floats, square: Floats) -> None:
        sign = np.sign(second - square)
        square *= 1 - self.parameters["beta2"]
        square *= sign
        second -= square


class FedAdam(Adaptive):
    """v ← b2·v + (1 − b2)Δ²"""

    def second_moment(self, second: Floats, square: Floats) -> None:
        second *= self.parameters["beta2"]
        square *= 1 - self.parameters["beta2"]
        second += square
