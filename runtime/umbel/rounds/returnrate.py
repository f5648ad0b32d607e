"""The share of invitations that come back as updates, learnt from the rounds so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel.rounds.actions import RoundOutcomes

UNOBSERVED = 0.92
LOWEST = 0.05  # an outage must not ask for a cohort without bound
MEMORY = 0.9  # what each new attempt leaves of the older ones' weight


@dataclass(slots=True)
class ReturnRate:
    """``returned`` of ``resolved`` invitations, older attempts discounted."""

    returned: float = 0.0
    resolved: float = 0.0

    @property
    def estimate(self) -> float:
        return max(LOWEST, self.returned / self.resolved) if self.resolved else UNOBSERVED

    def observe(self, outcomes: RoundOutcomes) -> None:
        """Counts those invitations that ended by themselves: who was still training when the goal was reached says
        nothing, nor does one whose site has put him back into its queue: he is not invited before he has left it."""
        returned = outcomes.full + outcomes.partial
        missing = (
            outcomes.declined + sum(outcomes.rejected.values()) + outcomes.timed_out + outcomes.lost - outcomes.queued
        )
        if returned + missing == 0:
            return
        self.returned = MEMORY * self.returned + returned
        self.resolved = MEMORY * self.resolved + returned + missing

    def to_json(self) -> dict[str, Any]:
        return {"returned": self.returned, "resolved": self.resolved}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReturnRate:
        return cls(float(data["returned"]), float(data["resolved"]))
