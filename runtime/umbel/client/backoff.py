"""Full jitter: wait a random time between nothing and a bound that doubles; many silos then never return in step."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0


@dataclass
class Backoff:
    """Its generator is its own: the user's code seeds the global one, in every silo alike."""

    first: float = FIRST_SECONDS
    longest: float = LONGEST_SECONDS
    _failures: int = 0
    _random: random.Random = field(default_factory=random.SystemRandom)

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        bound = min(self.longest, self.first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(0.0, bound)

    def reset(self) -> None:
        self._failures = 0
