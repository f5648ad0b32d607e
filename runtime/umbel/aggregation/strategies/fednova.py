"""FedNova (Wang 2020): x += η τ_eff Σ p_k D_k/‖a_k‖₁ with τ_eff = Σ p_k ‖a_k‖₁.

‖a‖₁ = τ for SGD, [τ − ρ(1−ρ^τ)/(1−ρ)]/(1−ρ) with momentum ρ, [1 − (1−μ)^τ]/μ with a proximal term. There the paper has
the product of the client's learning rate and the proximal weight, and so has the parameter ``mu``: the server knows of
no client's learning rate. τ_eff is Σ p_k‖a_k‖₁ in every case; Σ p_k τ_k, found in published code for the proximal
case, diverges.

A silo that did very few steps is not blown up beyond ``cap``: its factor τ_eff/‖a_k‖₁ is bounded with the τ_eff of the
steps planned when the round opens, since a streaming sum cannot wait for the close. Where no plan is known yet, as in
the first round, it is the update's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from umbel import rules
from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, StrategyError, UpdateFacts


class FedNova(FedAvg):
    forces: ClassVar[Mapping[str, str]] = rules.BUILT_IN["FedNova"].forces

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        super().__init__(parameters, weighting)
        if self.parameters["mu"] > 1:
            fault = "is more than 1 with FedNova, where it is the proximal weight times the client's learning rate"
            raise StrategyError(f"spec.strategy.parameters.mu: {fault}; give that product")
        if self.parameters["mu"] and self.parameters["momentum"]:
            fault = "goes with no momentum: FedNova knows the length of local work only for one of the two"
            raise StrategyError(f"spec.strategy.parameters.mu: {fault}; set mu or momentum to 0")

    def configure(self, start: RoundStart) -> None:
        super().configure(start)
        self._largest = self._capped(start.planned_steps)

    def scale_bound(self) -> float:
        return self._largest

    def admit(self, facts: UpdateFacts) -> Admission:
        if facts.steps_done < 1:
            raise StrategyError("FedNova needs the number of steps done; count them with ctx.steps")
        length = self._length(facts.steps_done)
        weight = self.weight_of(facts)
        scale = min(1 / length, self._largest, self._capped(facts.steps_planned) if self._largest == 1 else 1.0)
        return Admission(weight, scale, {"length": weight * length})

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean *= self.parameters["serverLearningRate"] * aggregate.sums["length"] / aggregate.weight
        return mean

    def _capped(self, planned: float) -> float:
        """The largest 1/‖a‖₁ that the cap allows where ``planned`` steps are usual; 1 where nothing is known of them."""
        return min(self.parameters["cap"] / self._length(planned), 1.0) if planned >= 1 else 1.0

    def _length(self, steps: float) -> float:
        """‖a‖₁ of that many local steps, at least one; it is 1 or more."""
        rho, mu = self.parameters["momentum"], self.parameters["mu"]
        if mu:
            return float((1 - (1 - mu) ** steps) / mu)
        return float((steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho))
