"""FedProx's part at the client: the gradient of (μ/2)·‖w − x‖², which keeps w near the received model x.

Li et al. 2020, arXiv 1812.06127: w ← w − lr·(∇F(w) + μ·(w − x)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from umbel.client.context import Context
from umbel.wire.layout import Array


class Proximal:
    """Make it at the beginning of `Client.fit`, before a parameter changes: it keeps a copy of what came in.

    ``mu`` is the job's ``strategy.parameters.mu``; without one it is 0, and so is every gradient.
    """

    def __init__(self, parameters: Mapping[str, Array], ctx: Context) -> None:
        self.mu = float(ctx.strategy_parameters.get("mu", 0.0))
        trained = [name for name, array in parameters.items() if array.dtype.kind == "f"] if self.mu else []
        self._received: dict[str, Any] = {name: parameters[name].copy() for name in trained}

    def gradient(self, name: str, value: Any) -> Any:
        """μ·(w − x) for one tensor: add it to the tensor's gradient before each step. 0.0 where there is none."""
        if name not in self._received:
            return 0.0
        return self.mu * (np.asarray(value) - self._received[name])

    def loss(self, parameters: Mapping[str, Any]) -> float:
        """(μ/2)·‖w − x‖² over all tensors, for those who report the whole objective."""
        total = 0.0
        for name, received in self._received.items():
            difference = np.ravel(np.asarray(parameters[name]) - received).astype(np.float64)
            total += float(difference @ difference)
        return self.mu / 2.0 * total
