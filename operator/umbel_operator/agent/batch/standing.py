"""What the state and the reason of a Slurm job mean: for the agent, and in words for a person. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from umbel_operator.agent.batch.base import BatchJob


class Phase(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"  # told to end, or being cleaned up: its processes may still run
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Standing:
    """``reason`` is a constant for conditions; ``message`` has none of the user's words. ``hopeless``: queued, and it
    will never start as it is. ``again``: ended, and a new attempt may well succeed."""

    phase: Phase
    reason: str
    message: str
    hopeless: bool = False
    again: bool = False
