"""Federated averaging (McMahan 2017): x += η Σ p_k D_k.

With partial work rescaled before it gets here, D_k ← D_k · min(1/f_k, cap), this equals plain FedAvg when every f_k = 1.
"""

from __future__ import annotations

from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, Strategy, UpdateFacts


class FedAvg(Strategy):
    """``weighting`` Examples: p_k = n_k / Σ n. Uniform: p_k = 1 / m."""

    def configure(self, start: RoundStart) -> None:
        self._bound = float(start.members if self.uniform else start.examples)

    def weight_bound(self) -> float:
        return self._bound

    def admit(self, facts: UpdateFacts) -> Admission:
        return Admission(self.weight_of(facts))

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean *= self.parameters["serverLearningRate"]
        return mean
