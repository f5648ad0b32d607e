"""What can go wrong in a simulated job, and how often. Everything is drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities: of the members' ones per task, of the server's ones per step."""

    late: float = 0.0  # the update comes after the deadline
    partial: float = 0.0  # it works until the notice and sends what it has
    decline: float = 0.0
    poison: float = 0.0  # values that are refused
    truncate: float = 0.0  # a transfer breaks off and is tried again
    silent: float = 0.0  # connected, and nothing comes
    drop: float = 0.0  # the session ends within the task
    twin: float = 0.0  # a second session of the same silo, while the first one still seems to be there
    stay_away: float = 0.0  # … for minutes rather than seconds
    duplicate: float = 0.0  # sends something else under the token of what was accepted
    replay: float = 0.0  # sends for an older round
    unlisted: float = 0.0  # per 200 s: a silo is taken off the list of members for a while
    suspend: float = 0.0  # per 200 s
    crash: float = 0.0  # the server, at any of its actions
    disk_full: float = 0.0  # a checkpoint fails

    @classmethod
    def drawn(cls, seed: int) -> Faults:
        """A mix: each fault absent, rare or frequent, so that a thousand seeds see most combinations."""
        rng = random.Random(f"faults/{seed}")
        levels = {name.name: rng.choice((0.0, 0.0, 0.05, 0.25)) for name in fields(cls)}
        levels["crash"] = rng.choice((0.0, 0.0, 0.01, 0.04))
        return cls(**levels)
