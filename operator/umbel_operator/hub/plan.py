"""What a pass wants done. Executed in order; each step may be repeated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from umbel_operator.hub.observed import Key, Told

Object = dict[str, Any]

RESYNC_SECONDS = 600.0  # between two passes over a job when nothing happens
REST_SECONDS = 3600.0  # the same when it is suspended or has ended: there may be thousands


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
    settled: tuple[Key, ...] = ()  # objects that were found as they should be

    @property
    def changes(self) -> bool:
        """Whether objects of the job are made, changed or deleted: their addresses may be what the rest waits for."""
        return any(isinstance(action, Apply | Delete) for action in self.actions)


def objects_first(plan: Plan) -> Plan:
    """Of a job's first pass: its objects alone, if it makes any. The next pass follows at once and tells the status of
    what came of them; an outcome is told by the pass that finds it."""
    ends = any(
        condition["type"] in ("Complete", "Failed")
        for action in plan.actions
        if isinstance(action, SetStatus)
        for condition in action.status.get("conditions", ())
    )
    if ends or not plan.changes:
        return plan
    return replace(plan, actions=tuple(a for a in plan.actions if isinstance(a, Apply | Delete)))
