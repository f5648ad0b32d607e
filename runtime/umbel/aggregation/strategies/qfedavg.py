"""q-FedAvg (q-FFL, Li 2020, arXiv 1905.10497): silos with a high loss pull harder.

With L = 1/lr, g_k = L(x − x_k), F_k the loss of the incoming model: Δ_k = F_k^q g_k, h_k = q F_k^(q−1)‖g_k‖² + L F_k^q,
x −= η ΣΔ_k / Σh_k. Silos are sampled in proportion to their examples and summed without weights.

Every F is divided by a reference F₀ fixed at the opening, which leaves the step as it is: r = min(F/F₀, 16) + 10⁻¹⁰,
h_k = (q/F₀) r^(q−1)‖g_k‖² + L r^q, all over F₀^q. Without it L·F^q outgrows the grid of the exact sum. For the same
reason r^q stays within 2¹⁶: above q = 4 the cap of F/F₀ is 2^(16/q).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from umbel import rules
from umbel.aggregation.strategy import Admission, Aggregate, Floats, RoundStart, Strategy, StrategyError, UpdateFacts

CAP = 16.0
LARGEST = 2.0**16  # of r^q
FLOOR = 1e-10
TRAINING_LOSS = "training_loss"


class QFedAvg(Strategy):
    """The reference is the mean loss of the last round, 1 at first."""

    scalars: ClassVar[frozenset[str]] = frozenset({TRAINING_LOSS})
    forces: ClassVar[Mapping[str, str]] = rules.BUILT_IN["q-FedAvg"].forces

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Uniform") -> None:
        super().__init__(parameters, weighting)
        self._q = self.parameters["q"]
        self._cap = min(CAP, LARGEST ** (1 / self._q)) if self._q else CAP
        self._lipschitz = 1 / self.parameters["clientLearningRate"]
        self._reference = 1.0
        self._members = 1.0
        self._factor = 0.0

    def configure(self, start: RoundStart) -> None:
        self._members = float(start.members)

    def weight_bound(self) -> float:
        return self._members

    def scale_bound(self) -> float:
        return math.pow(self._cap + FLOOR, self._q)

    def admit(self, facts: UpdateFacts) -> Admission:
        loss = facts.scalars.get(TRAINING_LOSS, math.nan)
        if not 0 <= loss < math.inf:
            raise StrategyError("q-FedAvg needs a training loss that is finite and not negative")
        relative = min(loss / self._reference, self._cap)
        scale = math.pow(relative + FLOOR, self._q)
        steepness = self._q / self._reference * math.pow(relative + FLOOR, self._q - 1)
        curvature = steepness * (self._lipschitz * facts.norm) ** 2 + self._lipschitz * scale
        return Admission(1.0, scale, {"curvature": curvature, "relative": relative})

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        rate = self.parameters["serverLearningRate"]
        self._factor = rate * self._lipschitz * aggregate.members / aggregate.sums["curvature"]
        # Of the capped losses: one silo's absurd loss cannot put all others' below the floor.
        mean = aggregate.sums["relative"] / aggregate.members
        self._reference = max(self._reference * mean, FLOOR)

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        mean *= self._factor
        return mean

    def state(self) -> dict[str, NDArray[Any]]:
        return {"reference": np.array(self._reference)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._reference = float(state["reference"]) if state else 1.0
