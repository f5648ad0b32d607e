"""The model that federated averaging must give, computed the slow way: every update held, tensor by tensor, float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umbel.job import FederatedJob
from umbel.simulation.disk import Bytes
from umbel.wire.layout import FLOATS, Layout

FLOAT_TOLERANCE = 1e-5  # the model is float32
INTEGER_TOLERANCE = 0.5 + 1e-2  # rounding, and the grid of sums whose bound is 1e12


@dataclass(frozen=True, slots=True)
class Taken:
    """One accepted update, as the engine ordered it to be folded."""

    update: Bytes
    examples: int
    rescale: float


def applies_to(job: FederatedJob) -> bool:
    """Other rules are held to references of their own, elsewhere."""
    rule = job.spec.strategy
    return rule.name in ("FedAvg", "FedProx") and rule.parameters.get("serverLearningRate", 1.0) == 1.0


def differs(job: FederatedJob, down: Layout, up: Layout, before: Bytes, after: Bytes, taken: Sequence[Taken]) -> str:
    """The first tensor of ``after`` that is not x + Σ n·r·d / Σ n, with r on trained tensors only; '' if none is."""
    uniform = job.spec.strategy.weighting == "Uniform"
    weights = [1.0 if uniform else float(it.examples) for it in taken]
    old, new, updates = down.views(before), down.views(after), [up.views(it.update) for it in taken]
    for tensor in down.tensors:
        integer = tensor.dtype not in FLOATS
        trained = not integer and not tensor.buffer
        rows = [
            views[tensor.name].astype(np.float64) * (it.rescale if trained else 1.0)
            for views, it in zip(updates, taken, strict=True)
        ]
        expected = old[tensor.name].astype(np.float64) + np.average(rows, axis=0, weights=weights)
        error = np.abs(new[tensor.name].astype(np.float64) - expected)
        allowed = INTEGER_TOLERANCE if integer else FLOAT_TOLERANCE * (1.0 + np.abs(expected))
        if np.any(error > allowed):
            return tensor.name
    return ""
