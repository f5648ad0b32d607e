"""FedAvg with server momentum (Hsu 2019, arXiv 1909.06335): m ← β m + Δ; x += η m, Δ the FedAvg delta."""

from __future__ import annotations

from umbel.aggregation.strategies.stateful import Stateful
from umbel.aggregation.strategy import Aggregate, Floats


class FedAvgM(Stateful):
    def initial(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        momentum = self.arrays["momentum"][where]
        momentum *= self.parameters["momentum"]
        momentum += mean
        return momentum * self.rate
