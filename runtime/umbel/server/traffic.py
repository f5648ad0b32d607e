"""What passed the wire since the last publication: private until then, since a number that moves with an arrival tells
who arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Bytes of model and update data; requests by (method, code); joins by outcome; transfers by the reason they were
    refused for, as far as they are nobody's part in a round; seconds from the first byte of an update to its fold."""

    up: int = 0
    down: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    joins: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    residences: list[float] = field(default_factory=list)

    def take(self) -> Traffic:
        """Everything so far; counting starts again at zero."""
        taken = Traffic(self.up, self.down, self.requests, self.joins, self.refused, self.residences)
        self.up = self.down = 0
        self.requests, self.joins, self.refused, self.residences = Counter(), Counter(), Counter(), []
        return taken
