"""What the server's pod is doing, from its status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from umbel_operator.conditions import find, seconds
from umbel_operator.hub.observed import Object

PULLING = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
MISCONFIGURED = 2  # the server's exit status, with one line that says why
TRIES = 3  # ends with that status in a row, before it counts: a volume or a store may have been late


@dataclass(frozen=True, slots=True)
class PodSight:
    """``reason``, ``message``: why it is not running. ``fault``: the server's own line, once it has said it often
    enough. ``ended``: Unix time at which the server last ended of itself, with its job's outcome."""

    reason: str
    message: str
    fault: str | None = None
    ended: float | None = None


def look(pod: Object | None) -> PodSight:
    if pod is None:
        return PodSight("Pending", "its pod is being made")
    status = pod.get("status") or {}
    container: Object = next(iter(status.get("containerStatuses") or []), {})
    ends = list(_ends(container))
    fault = _fault(container, ends)
    ended = next((seconds(e["finishedAt"]) for e in ends if e.get("exitCode") in (0, 1) and e.get("finishedAt")), None)
    reason, message = _why(status, container, ends)
    return PodSight(reason, message, fault, ended)


def runs(pod: Object | None) -> bool:
    """Whether its container has been started and has not ended."""
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return any("running" in (status.get("state") or {}) for status in statuses)


def _ends(container: Object) -> Iterator[Object]:
    for state in (container.get("state"), container.get("lastState")):
        if (state or {}).get("terminated"):
            yield state["terminated"]  # type: ignore[index]


def _fault(container: Object, ends: list[Object]) -> str | None:
    last = ends[0] if ends else {}
    if last.get("exitCode") != MISCONFIGURED or int(container.get("restartCount") or 0) + 1 < TRIES:
        return None
    lines = [
        line.removeprefix("umbel: ") for line in (last.get("message") or "").splitlines() if line.startswith("umbel: ")
    ]
    return "\n".join(lines) or "the server ended with status 2; its log says why"


def _why(status: Object, container: Object, ends: list[Object]) -> tuple[str, str]:
    state = container.get("state") or {}
    waiting = (state.get("waiting") or {}).get("reason") or ""
    if waiting in PULLING:
        return "ImagePullBackOff", "spec.app.image cannot be pulled: is its name right, is a pull secret missing?"
    if waiting in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return waiting, "the container cannot be started: is spec.model.credentialsSecret there?"
    if ends and "running" not in state:
        last = ends[0]
        if last.get("reason") == "OOMKilled":
            return "OOMKilled", "the server used more memory than its limit; raise spec.server.resources"
        return "CrashLoopBackOff", f"the server ended with status {last.get('exitCode')} and is started again"
    scheduled = find(status.get("conditions"), "PodScheduled")
    if scheduled.get("status") == "False":
        return str(
            scheduled.get("reason") or "Unschedulable"
        ), "no node takes the server's pod, or its volume is not bound"
    if "running" in state:
        return "Starting", "the server is starting"
    return "Pending", "its pod is being started"
