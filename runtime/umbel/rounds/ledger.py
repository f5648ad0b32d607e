"""What of the engine survives a restart: facts about committed rounds, and counters. No member is in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from umbel.rounds.actions import RoundOutcomes
from umbel.rounds.returnrate import ReturnRate
from umbel.rounds.stopping import Stopping


@dataclass(slots=True)
class Ledger:
    committed: int = 0  # rounds, and the version of the model
    committed_attempt: int = 1  # the attempt in which the last of them was committed
    evaluated: int = -1  # the newest version whose evaluation was released; 0 is the initial model
    awaiting: bool = False  # the committed round has still to be (evaluated and) released
    attempt: int = 0  # last one opened of round committed + 1
    abandoned: int = 0  # in a row
    active_seconds: float = 0.0
    planned_steps: int = 0  # Σ over ``planned_updates`` committed updates
    planned_updates: int = 0
    returns: ReturnRate = field(default_factory=ReturnRate)
    stopping: Stopping = field(default_factory=Stopping)
    edits: dict[str, tuple[float, float]] = field(default_factory=dict)
    outcome: str = ""
    reason: str = ""
    message: str = ""

    @property
    def mean_planned_steps(self) -> float:
        return self.planned_steps / self.planned_updates if self.planned_updates else 0.0

    def edited(self, name: str, manifest: float) -> float:
        """The value of a field that was edited while the job ran.

        An edit stands as long as the manifest that the server reads is the one which it was made against: a server
        that starts with an old copy keeps to the edit, and one that starts with a newer manifest follows that.
        """
        before, after = self.edits.get(name, (manifest, manifest))
        return after if before == manifest else manifest

    def commit(self, attempt: int, planned: Sequence[int], outcomes: RoundOutcomes) -> None:
        self.committed += 1
        self.committed_attempt = attempt
        self.attempt = 0
        self.awaiting = True
        self.abandoned = 0
        self.planned_steps += sum(planned)
        self.planned_updates += len(planned)
        self.returns.observe(outcomes)

    def after_commit(self, attempt: int, planned: Sequence[int], outcomes: RoundOutcomes) -> Ledger:
        later = copy.deepcopy(self)
        later.commit(attempt, planned, outcomes)
        return later

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "returns": self.returns.to_json(),
            "stopping": self.stopping.to_json(),
            "edits": {name: list(pair) for name, pair in self.edits.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ledger:
        return cls(
            **{name: data[name] for name in _PLAIN},
            returns=ReturnRate.from_json(data["returns"]),
            stopping=Stopping.from_json(data["stopping"]),
            edits={name: (pair[0], pair[1]) for name, pair in data["edits"].items()},
        )


_PLAIN = (
    "committed",
    "committed_attempt",
    "evaluated",
    "awaiting",
    "attempt",
    "abandoned",
    "active_seconds",
    "planned_steps",
    "planned_updates",
    "outcome",
    "reason",
    "message",
)
