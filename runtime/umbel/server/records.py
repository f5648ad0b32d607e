"""The record of one round, as it is released: aggregate facts only.

Built while the round runs, in the private memory of the server; nothing reads it before the release.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from umbel.rounds.actions import RoundOutcomes

PHASES = ("gather", "train", "close", "checkpoint", "evaluate", "release")


@dataclass
class RoundRecord:
    """``seconds`` by phase; ``withheld`` counts by reason what the floors removed."""

    round: int
    attempt: int
    started: float  # Unix time of the opening
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    outcome: str = ""
    reason: str = ""
    counts: RoundOutcomes | None = None
    train: dict[str, float] = field(default_factory=dict)
    evaluate: dict[str, float] = field(default_factory=dict)
    examples: int | None = None
    update_norm: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    withheld: dict[str, int] = field(default_factory=dict)
    mark: float = field(default_factory=time.monotonic)  # when the present phase began
    broadcast: float = 0.0  # seconds of ``train`` until every task was on its way; not kept

    def lap(self, phase: str) -> None:
        """The time since the last mark was spent in ``phase``."""
        now = time.monotonic()
        self.seconds[phase] += now - self.mark
        self.mark = now

    def withhold(self, reasons: Mapping[str, int]) -> None:
        for reason, count in reasons.items():
            if count:
                self.withheld[reason] = self.withheld.get(reason, 0) + count

    def to_json(self) -> dict[str, Any]:
        """A copy: what is handed out stays as it was."""
        counts = self.counts
        return {
            "round": self.round,
            "attempt": self.attempt,
            "outcome": self.outcome,
            "reason": self.reason,
            "started": round(self.started, 3),
            "seconds": {phase: round(value, 4) for phase, value in self.seconds.items()},
            "invited": counts.invited if counts else 0,
            "full": counts.full if counts else 0,
            "partial": counts.partial if counts else 0,
            "declined": counts.declined if counts else 0,
            "rejected": dict(counts.rejected) if counts else {},
            "timedOut": counts.timed_out if counts else 0,
            "lost": counts.lost if counts else 0,
            "train": dict(self.train),
            "evaluate": dict(self.evaluate),
            "examples": self.examples,
            "updateNorm": self.update_norm,
            "bytesUp": self.bytes_up,
            "bytesDown": self.bytes_down,
            "withheld": dict(self.withheld),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundRecord:
        """What a checkpoint keeps of a committed round whose release is still to come."""
        rejected = dict(data["rejected"])
        counts = RoundOutcomes(
            data["invited"], data["full"], data["partial"], data["declined"], rejected, data["timedOut"], data["lost"]
        )
        return cls(
            data["round"],
            data["attempt"],
            data["started"],
            dict(data["seconds"]),
            data["outcome"],
            data["reason"],
            counts,
            dict(data["train"]),
            dict(data["evaluate"]),
            data["examples"],
            data["updateNorm"],
            data["bytesUp"],
            data["bytesDown"],
            dict(data["withheld"]),
        )
