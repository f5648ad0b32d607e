"""The evaluation of one model version by those members who were connected when it opened."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Evaluation:
    """``awaited``: who has not answered yet; ``counted``: whose answer counts, once."""

    round: int
    attempt: int
    deadline: float
    awaited: set[str]
    counted: set[str] = field(default_factory=set)
    declined: set[str] = field(default_factory=set)

    @property
    def invited(self) -> int:
        return len(self.awaited) + len(self.counted) + len(self.declined)

    def verdict_on(self, silo: str) -> tuple[str, str] | None:
        """What a further answer of ``silo`` is told; None if it is still awaited."""
        if silo in self.awaited:
            return None
        if silo in self.counted:
            return "ACCEPTED", ""
        return ("ROUND_CLOSED", "") if silo in self.declined else ("REJECTED", "NOT_IN_COHORT")

    def count(self, silo: str) -> None:
        self.awaited.remove(silo)
        self.counted.add(silo)

    def decline(self, silo: str) -> None:
        if silo in self.awaited:
            self.awaited.remove(silo)
            self.declined.add(silo)

    def over_at(self, all_gone_at: float | None) -> float:
        """When it closes if nobody answers; ``all_gone_at``: when the last of the awaited is gone, None: not so far."""
        return self.deadline if all_gone_at is None else min(self.deadline, all_gone_at)
