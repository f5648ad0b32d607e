"""When a client that ended is started again: at growing pauses, as Kubernetes does it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from umbel_operator.agent.backends.local.records import Attempt

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0
STEADY_SECONDS = 600.0  # alive so long, its earlier failures are forgotten
STOPPED_EXIT = 75  # by a signal, or to begin afresh: it did not fail


@dataclass(frozen=True, slots=True)
class Again:
    """``failures``: in a row, with the one that has just been."""

    at: float
    failures: int


def again(attempt: Attempt, code: int | None, ended: float) -> Again:
    """``code``: None when nobody knows how it ended."""
    if code == STOPPED_EXIT:
        failures = attempt.failures
        return Again(ended + FIRST_SECONDS, failures)
    failures = 1 if ended - attempt.started >= STEADY_SECONDS else attempt.failures + 1
    return Again(ended + pause(failures), failures)


def pause(failures: int) -> float:
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16)) if failures > 0 else FIRST_SECONDS
