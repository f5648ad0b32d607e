"""What a pass wants done. Executed in order; each step may be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from umbel_operator.hub.observed import Told

Object = dict[str, Any]

RESYNC_SECONDS = 600.0  # between two passes over a job when nothing happens


@dataclass(frozen=True, slots=True)
class Apply:
    obj: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """``force``: without waiting for its node, which is silent."""

    kind: str
    namespace: str
    name: str
    uid: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """The server's admin port: who belongs to the job, and the numbers that may change while it runs."""

    told: Told


@dataclass(frozen=True, slots=True)
class Announce:
    """An Event of the job."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    status: Object


Action = Apply | Delete | Tell | Announce | SetStatus


@dataclass(frozen=True, slots=True)
class Plan:
    """``again``: seconds after which time alone may ask for more."""

    actions: tuple[Action, ...] = ()
    again: float = RESYNC_SECONDS
    delete_job: bool = False
