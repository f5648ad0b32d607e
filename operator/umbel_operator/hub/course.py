"""Where a job stands and what follows from it: does the server run, what should the clients do, has it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from umbel.job import FederatedJob
from umbel_operator.conditions import find, is_true, seconds
from umbel_operator.hub import reasons
from umbel_operator.hub.observed import Object, Observed
from umbel_operator.hub.server_pod import PodSight

LINGER_SECONDS = 90.0  # the server itself stays 60 s at most for its silos to have the final model
DEADLINE_SLACK = 60.0  # a server that can be reached ends its job itself


@dataclass(frozen=True, slots=True)
class Outcome:
    type: Literal["Complete", "Failed"]
    reason: str
    message: str
    at: float  # Unix time


@dataclass(frozen=True, slots=True)
class Course:
    """``started``: Unix time since when the job is active; None while suspended."""

    outcome: Outcome | None
    started: float | None
    server_runs: bool
    clients: Literal["Running", "Suspended", "Finished"]
    again: float | None = None


def decide(obj: Object, job: FederatedJob, observed: Observed, pod: PodSight, now: float) -> Course:
    status = obj.get("status") or {}
    suspended = job.spec.suspend
    started = seconds(status["startTime"]) if status.get("startTime") else now
    outcome = recorded(status) or _reached(obj, observed, pod, now)
    if outcome is None and not suspended and now > started + job.spec.active_deadline_seconds + DEADLINE_SLACK:
        limit = f"spec.activeDeadlineSeconds ({job.spec.active_deadline_seconds}) have passed"
        outcome = Outcome("Failed", reasons.DEADLINE_EXCEEDED, limit, now)
    if outcome is not None:
        lingering = _lingers(outcome, observed, pod, now)
        return Course(outcome, started, lingering, "Running" if lingering else "Finished", 1.0 if lingering else None)
    if suspended:
        return Course(None, None, False, "Suspended")
    return Course(None, started, True, "Running", started + job.spec.active_deadline_seconds + DEADLINE_SLACK - now)


def recorded(status: Object) -> Outcome | None:
    """The end that the job's status tells already: it stays."""
    conditions = status.get("conditions")
    for type_ in ("Complete", "Failed"):
        if is_true(conditions, type_):
            condition = find(conditions, type_)
            at = seconds(status.get("completionTime") or condition["lastTransitionTime"])
            return Outcome(type_, condition["reason"], condition.get("message", ""), at)
    return None


def _reached(obj: Object, observed: Observed, pod: PodSight, now: float) -> Outcome | None:
    told = observed.server.status
    if told is not None and told.get("uid") == obj["metadata"]["uid"] and told["phase"] in ("Complete", "Failed"):
        return Outcome(told["phase"], told["reason"] or told["phase"], told["message"], now)
    if pod.fault is not None:
        return Outcome("Failed", reasons.SERVER_MISCONFIGURED, pod.fault, now)
    return None


def _lingers(outcome: Outcome, observed: Observed, pod: PodSight, now: float) -> bool:
    """Whether the server still hands the final model out. What the operator ended itself, has no such end."""
    told = (observed.server.status or {}).get("phase")
    by_itself = outcome.reason == reasons.DEADLINE_EXCEEDED and told not in ("Complete", "Failed")
    if by_itself or outcome.reason in (reasons.SERVER_MISCONFIGURED, reasons.INVALID_SPEC):
        return False
    # One that has not ended of itself lingers, or is on its way back from a kill.
    return observed.pod is not None and pod.ended is None and now <= outcome.at + LINGER_SECONDS
