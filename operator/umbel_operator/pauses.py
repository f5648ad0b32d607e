"""Pauses between tries: doubling, with jitter, so that a hundred agents do not come back at the same moment."""

from __future__ import annotations

import random

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


class Pauses:
    def __init__(self, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> None:
        self._first, self._longest, self._next = first, longest, first

    def next(self) -> float:
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause * random.uniform(0.5, 1.0)

    def after(self, seconds: float, least: float = 0.0) -> float:
        """The next, after a try that went on for so long: as long as the longest pause, and they begin anew."""
        if seconds >= self._longest:
            self.reset()
        return max(self.next(), least * random.uniform(1.0, 1.5))

    def reset(self) -> None:
        self._next = self._first
