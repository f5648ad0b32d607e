"""What every server of one simulated job works with: a small model of every kind of tensor, the real checks and floors.

Setting ── Sums (the job's update rule over the real accumulator)
        └─ Releaser (the real floors)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation import checks, strategies
from umbel.aggregation.release import Floors, Releaser
from umbel.aggregation.round import RoundAggregation
from umbel.aggregation.strategy import RoundStart, UpdateFacts
from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.simulation.disk import Bytes
from umbel.wire.layout import Layout

TENSORS = (
    ("layer.weight", "float32", (5, 3), False),
    ("layer.scale", "float64", (3,), False),
    ("norm.mean", "float32", (4,), True),
    ("norm.count", "int64", (), True),
    ("steps", "int32", (2,), True),
)


@dataclass(frozen=True)
class Setting:
    job: FederatedJob
    down: Layout
    up: Layout
    initial: Bytes

    @classmethod
    def of(cls, job: FederatedJob) -> Setting:
        down = Layout.build(TENSORS)
        initial = down.empty()
        for view in down.views(initial).values():
            view[...] = np.arange(view.size).reshape(view.shape)
        return cls(job, down, down.upward(), initial)

    def examine(self, update: Bytes) -> checks.Examined:
        return checks.examine(update, self.up, self.job.spec.limits.max_abs)

    def releaser(self) -> Releaser:
        privacy = self.job.spec.privacy
        ranges = {metric.name: (metric.min, metric.max) for metric in self.job.spec.metrics}
        return Releaser(ranges, Floors(privacy.min_cohort, privacy.min_examples))


class Sums:
    """The aggregation of one server process. ``arrays``: the rule's state, from the checkpoint."""

    def __init__(self, setting: Setting, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        job = setting.job
        rule, rounds = job.spec.strategy, job.spec.rounds
        self._strategy = strategies.create(rule.name, rule.parameters, rule.weighting or "Examples")
        largest = rounds.rescale_cap if rounds.partial_updates == "Rescale" else 1.0
        self._aggregation = RoundAggregation(
            setting.down, setting.up, self._strategy, max_abs=job.spec.limits.max_abs, largest_rescale=largest
        )
        self.restore(arrays)

    def open(self, action: do.OpenRound) -> None:
        examples = sum(action.cohort.values())
        self._aggregation.open(RoundStart(action.round, len(action.cohort), examples, action.planned_steps))

    def fold(self, action: do.Fold, event: ev.UpdateArrived, update: Bytes) -> None:
        facts = UpdateFacts(action.examples, event.steps_done, event.steps_planned, event.norm, event.scalars)
        self._aggregation.fold(update, facts, action.rescale)

    def finish(self, model: Bytes) -> bool:
        """In place; whether the new model is finite."""
        return self._aggregation.finish(model, model).finite

    def state(self) -> dict[str, NDArray[np.generic]]:
        return self._strategy.state()

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        if arrays:
            self._strategy.restore(arrays)

    def image(self) -> bytes:
        """Every byte of the sums, to see whether one has changed."""
        held = self._aggregation._accumulator
        return b"".join(total.tobytes() for total in held._sums) + repr((held.weight, held.members)).encode()
