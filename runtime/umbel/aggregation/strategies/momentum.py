"""FedAvg with server momentum (Hsu 2019): m ← β m + Δ; x += η m, Δ the FedAvg delta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats


class FedAvgM(FedAvg):
    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        if not hasattr(self, "_momentum"):
            self._momentum = np.zeros(trained)

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        momentum = self._momentum[where]
        momentum *= self.parameters["momentum"]
        momentum += mean
        return momentum * self.parameters["serverLearningRate"]

    def state(self) -> dict[str, NDArray[Any]]:
        return {"momentum": self._momentum} if hasattr(self, "_momentum") else {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.__dict__.pop("_momentum", None)
        if "momentum" in state:
            self._momentum = np.array(state["momentum"], dtype=np.float64)
