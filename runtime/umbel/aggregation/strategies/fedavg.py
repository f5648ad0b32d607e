"""Federated averaging (McMahan 2017, arXiv 1602.05629): x += η Σ p_k D_k.

With partial work rescaled before it gets here, D_k ← D_k · min(1/f_k, cap), it equals plain FedAvg when every f_k = 1.
FedProx (Li 2020, arXiv 1812.06127) is the same at the server, partial work included.
"""

from __future__ import annotations

from collections.abc import Mapping

from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, Strategy, UpdateFacts


class FedAvg(Strategy):
    """``weighting`` Examples: p_k = n_k / Σ n. Uniform: p_k = 1 / m."""

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        super().__init__(parameters, weighting)
        self.rate = self.parameters["serverLearningRate"]
        self._bound = 1.0

    def configure(self, start: RoundStart) -> None:
        self._bound = float(start.members if self.uniform else start.examples)

    def weight_bound(self) -> float:
        return self._bound

    def admit(self, facts: UpdateFacts) -> Admission:
        return Admission(self.weight_of(facts))

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        if self.rate != 1.0:
            mean *= self.rate
        return mean
