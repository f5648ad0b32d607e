"""Whether a process that ended is started again, and when: pure, time comes in as an argument."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each new start
STEADY_SECONDS = 60.0  # alive so long, a process has its five starts again
BAD_CONFIGURATION = 2  # exit code: starting again would end the same way


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again at ``at``."""

    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """It ended as it should."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It stays dead; ``reason`` is for the user."""

    reason: str
    misconfigured: bool = False


Decision = Again | Done | GaveUp


class Restarts:
    """The starts of one process. ``done``: the exit codes with which its work is over."""

    def __init__(self, done: frozenset[int]) -> None:
        self._done = done
        self._used = 0
        self._started = 0.0

    def started(self, now: float) -> None:
        self._started = now

    def ended(self, code: int, now: float) -> Decision:
        if code in self._done:
            return Done()
        if code == BAD_CONFIGURATION:
            return GaveUp(describe(code), misconfigured=True)
        if now - self._started >= STEADY_SECONDS:
            self._used = 0
        if self._used == len(PAUSES):
            return GaveUp(f"{describe(code)}, after {len(PAUSES)} new starts")
        pause = PAUSES[self._used]
        self._used += 1
        return Again(now + pause, describe(code))


def describe(code: int) -> str:
    """An exit status in words; negative: the signal that killed the process."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def shortfall(silos: int, failed: Mapping[str, str], quorum: int) -> str | None:
    """Why the job cannot go on with these silos Failed (name -> reason), or None while it can."""
    live = silos - len(failed)
    if live >= quorum:
        return None
    listed = "; ".join(f"{name} {reason}" for name, reason in sorted(failed.items())[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"TooFewSilos: {live} of {silos} silos are left and the quorum is {quorum} ({listed}{more})"
