"""FedAvg with server momentum (Hsu 2019, arXiv 1909.06335): m ← β m + Δ; x += η m, Δ the FedAvg delta."""

from __future__ import annotations

import numpy as np

from umbel.aggregation.strategies.stateful import Stateful
from umbel.aggregation.strategy import Aggregate, Floats


class FedAvgM(Stateful):
    """One float64 value of state per trained component."""

    def initial(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        momentum = self.arrays["momentum"][where]
        momentum *= self.parameters["momentum"]
        momentum += mean
        np.multiply(momentum, self.rate, out=mean)
        return mean
