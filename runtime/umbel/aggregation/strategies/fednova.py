"""FedNova (Wang 2020, arXiv 2007.07481): x += η τ_eff Σ p_k D_k/‖a_k‖₁ with τ_eff = Σ p_k ‖a_k‖₁.

‖a‖₁ = τ for SGD, [τ − ρ(1−ρ^τ)/(1−ρ)]/(1−ρ) with momentum ρ, [1 − (1−lr·μ)^τ]/(lr·μ) with a proximal term. τ_eff is
Σ p_k‖a_k‖₁ in every case; Σ p_k τ_k, found in published code for the proximal case, diverges.

A silo that did very few steps is not blown up beyond ``cap``: its factor τ_eff/‖a_k‖₁ is bounded, with the τ_eff of the
steps planned when the round opens, since a streaming sum cannot wait for the close. While no round has told what is
planned, a silo's own plan stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from umbel import rules
from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, StrategyError, UpdateFacts


class FedNova(FedAvg):
    """Scales are 1/‖a_k‖₁ ≤ 1; τ_eff is multiplied in at the end."""

    forces: ClassVar[Mapping[str, str]] = rules.BUILT_IN["FedNova"].forces

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        super().__init__(parameters, weighting)
        self._planned = 0.0
        where = "spec.strategy.parameters.mu"
        self._shrink = self.parameters["mu"] * self.parameters["clientLearningRate"]
        if self.parameters["mu"] and not 0 < self._shrink <= 1:
            remedy = "give the clients' learning rate as clientLearningRate, with mu × learning rate at most 1"
            raise StrategyError(f"{where}: the proximal term needs the step size that it shrinks; {remedy}")
        if self.parameters["mu"] and self.parameters["momentum"]:
            raise StrategyError(f"{where}: cannot go with momentum under FedNova; leave one of them 0")

    def configure(self, start: RoundStart) -> None:
        super().configure(start)
        self._planned = start.planned_steps

    def scale_bound(self) -> float:
        return self._largest(self._planned)

    def _largest(self, planned: float) -> float:
        """The scale that the cap allows where so many steps are planned; 1 where that is not known."""
        return min(1.0, self.parameters["cap"] / self.length(planned)) if planned >= 1 else 1.0

    def length(self, steps: float) -> float:
        """‖a‖₁ of that many local steps; at least 1 for at least one step."""
        rho, shrink = self.parameters["momentum"], self._shrink
        if shrink:
            return float((1 - (1 - shrink) ** steps) / shrink)
        return float((steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho))

    def admit(self, facts: UpdateFacts) -> Admission:
        if facts.steps_done < 1:
            raise StrategyError("FedNova needs the number of steps done; count them with ctx.steps")
        length = self.length(facts.steps_done)
        scale = min(1 / length, self._largest(self._planned or facts.steps_planned))
        weight = self.weight_of(facts)
        return Admission(weight, scale, {"length": weight * length})

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean *= self.rate * aggregate.sums["length"] / aggregate.weight
        return mean
