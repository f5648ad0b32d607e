"""FedAdagrad, FedYogi, FedAdam (Reddi 2020, arXiv 2003.00295), without bias correction, as in the paper.

m ← b1·m + (1 − b1)Δ; v by the rule; x += η·m/(√v + τ); v starts at τ².
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats


class Adaptive(FedAvg):
    """Two float64 values of state per trained component."""

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        if not hasattr(self, "_first"):
            self._first = np.zeros(trained)
            self._second = np.full(trained, self.parameters["tau"] ** 2)

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        first, second = self._first[where], self._second[where]
        beta1 = self.parameters["beta1"]
        first *= beta1
        first += (1 - beta1) * mean
        self.second_moment(second, mean * mean)
        return self.parameters["serverLearningRate"] * first / (np.sqrt(second) + self.parameters["tau"])

    @abstractmethod
    def second_moment(self, second: Floats, square: Floats) -> None:
        """Update v in place from Δ²."""

    def state(self) -> dict[str, NDArray[Any]]:
        return {"first": self._first, "second": self._second} if hasattr(self, "_first") else {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name in ("first", "second"):
            self.__dict__.pop(f"_{name}", None)
            if name in state:
                setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))


class FedAdagrad(Adaptive):
    def second_moment(self, second: Floats, square: Floats) -> None:
        second += square


class FedYogi(Adaptive):
    def second_moment(self, second: Floats, square: Floats) -> None:
        second -= (1 - self.parameters["beta2"]) * square * np.sign(second - square)


class FedAdam(Adaptive):
    def second_moment(self, second: Floats, square: Floats) -> None:
        second *= self.parameters["beta2"]
        second += (1 - self.parameters["beta2"]) * square
