"""What is known of a silo's machine at one moment."""

from __future__ import annotations

import datetime
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """None: could not be measured. ``others``: share of the CPU time, 0 to 1, that went to others than this client.
    ``interfaces``: of the default routes; empty when there is none."""

    now: datetime.datetime
    others: float | None = None
    idle: float | None = None
    mains: bool | None = None
    interfaces: tuple[str, ...] | None = None
