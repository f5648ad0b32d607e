"""FedAvg with server momentum (Hsu 2019): m ← β m + Δ; x += η m, Δ the FedAvg delta."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats


class FedAvgM(FedAvg):
    """One float64 value of state per trained component."""

    _momentum: Floats | None = None

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        if self._momentum is None:
            self._momentum = np.zeros(trained)

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        assert self._momentum is not None, "begin_step comes before the first block"
        momentum = self._momentum[where]
        momentum *= self.parameters["momentum"]
        momentum += mean
        np.multiply(momentum, self.parameters["serverLearningRate"], out=mean)
        return mean

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {} if self._momentum is None else {"momentum": self._momentum}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self._momentum = np.array(state["momentum"], dtype=np.float64) if "momentum" in state else None
