"""What evaluation says about going on: ``stopWhen`` is met, or the model has diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel.job import FederatedJob

LOSS = "loss"
DIVERGED_AFTER = 10  # evaluations in a row with the loss at the top of its range
ROUNDING = 1e-9  # of the range: a weighted mean of values at the top may miss it by rounding


@dataclass(slots=True)
class Stopping:
    """Counters over the released evaluations; a metric that was withheld changes none of them.

    ``low``, ``high``: what the watched metric has reached so far. A plateau is ``stale`` = patience evaluations in a
    row of which none went more than minDelta beyond them: so it needs no word on which direction is better.
    """

    at_top: int = 0
    low: float | None = None
    high: float | None = None
    stale: int = 0

    def observe(self, job: FederatedJob, metrics: Mapping[str, float]) -> None:
        self._watch_loss(job, metrics)
        rule = job.spec.rounds.stop_when
        if rule.metric is None or rule.plateau is None or rule.metric not in metrics:
            return
        value, delta = metrics[rule.metric], rule.plateau.min_delta
        if self.low is None or self.high is None:
            self.low = self.high = value
            return
        news = value < self.low - delta or value > self.high + delta
        self.stale = 0 if news else self.stale + 1
        self.low, self.high = min(self.low, value), max(self.high, value)

    def _watch_loss(self, job: FederatedJob, metrics: Mapping[str, float]) -> None:
        declared = next((m for m in job.spec.metrics if m.name == LOSS), None)
        if declared is None or LOSS not in metrics:
            return
        top = declared.max - ROUNDING * (declared.max - declared.min)
        self.at_top = self.at_top + 1 if metrics[LOSS] >= top else 0

    @property
    def diverged(self) -> bool:
        return self.at_top >= DIVERGED_AFTER

    def met(self, job: FederatedJob, metrics: Mapping[str, float]) -> str | None:
        """The condition of ``stopWhen`` that ``metrics`` (already observed) meet, in words; None if none."""
        rule = job.spec.rounds.stop_when
        if rule.metric is None or rule.metric not in metrics:
            return None
        value = metrics[rule.metric]
        if rule.at_least is not None and value >= rule.at_least:
            return f"{rule.metric} is {value:.6g}, at least {rule.at_least:.6g}"
        if rule.at_most is not None and value <= rule.at_most:
            return f"{rule.metric} is {value:.6g}, at most {rule.at_most:.6g}"
        if rule.plateau is not None and self.stale >= rule.plateau.patience:
            return f"{rule.metric} brought nothing new in {rule.plateau.patience} evaluations"
        return None

    def to_json(self) -> dict[str, Any]:
        return {"atTop": self.at_top, "low": self.low, "high": self.high, "stale": self.stale}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stopping:
        return cls(data["atTop"], data["low"], data["high"], data["stale"])
