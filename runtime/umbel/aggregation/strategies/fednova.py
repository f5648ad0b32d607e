"""FedNova (Wang 2020): x += η τ_eff Σ p_k D_k/‖a_k‖₁ with τ_eff = Σ p_k ‖a_k‖₁.

‖a‖₁ = τ for SGD, [τ − ρ(1−ρ^τ)/(1−ρ)]/(1−ρ) with momentum ρ, [1 − (1−μ)^τ]/μ with a proximal term, where the parameter
``mu`` is the product of client learning rate and proximal weight. τ_eff is Σ p_k‖a_k‖₁ in every case; Σ p_k τ_k, found in
published code for the proximal case, diverges.

A silo that did very few steps is not blown up beyond ``cap``: its factor τ_eff/‖a_k‖₁ is bounded with the τ_eff of the
steps planned when the round opens, since a streaming sum cannot wait for the close.
"""

from __future__ import annotations

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, StrategyError, UpdateFacts


class FedNova(FedAvg):
    forces = {"rounds.partialUpdates": "AsIs"}

    def configure(self, start: RoundStart) -> None:
        super().configure(start)
        planned = self._length(start.planned_steps) if start.planned_steps >= 1 else 0.0
        self._largest = self.parameters["cap"] / planned if planned else 1.0

    def _length(self, steps: float) -> float:
        """‖a‖₁ of that many local steps; at least 1 for at least one step."""
        rho, mu = self.parameters["momentum"], self.parameters["mu"]
        if mu:
            return float((1 - (1 - mu) ** steps) / mu)
        return float((steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho))

    def admit(self, facts: UpdateFacts) -> Admission:
        if facts.steps_done < 1:
            raise StrategyError("FedNova needs the number of steps done; count them with ctx.steps")
        length = self._length(facts.steps_done)
        weight = self.weight_of(facts)
        return Admission(weight, min(1 / length, self._largest, 1.0), {"length": weight * length})

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean *= self.parameters["serverLearningRate"] * aggregate.sums["length"] / aggregate.weight
        return mean
