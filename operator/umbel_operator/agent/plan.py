"""What a pass over one FederatedClient may want done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """``actions`` in the backend's own words, in order; then ``status``, the whole of it, to the hub (None: as it is).
    ``again``: seconds after which to look once more, whatever happens."""

    actions: tuple[object, ...] = ()
    status: Object | None = None
    again: float | None = None

    @property
    def writes(self) -> bool:
        return bool(self.actions) or self.status is not None


@dataclass(frozen=True, slots=True)
class Clocks:
    """What only a process that stays can know. ``finished_since``: when it first saw that the job has ended."""

    now: float
    finished_since: float | None = None
    pending_seconds: float = 0.0


@dataclass(slots=True)
class Draft:
    """A plan in the making."""

    actions: list[object] = field(default_factory=list)
    again: float | None = None

    def look_again(self, seconds: float | None) -> None:
        if seconds is not None:
            self.again = seconds if self.again is None else min(self.again, seconds)
