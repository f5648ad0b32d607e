"""What a client's pod is doing, in one condition. Nothing here repeats text that the user's code, a registry or a
scheduler wrote: reasons are constants, messages are ours and carry numbers at most."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from umbel_operator.agent.federatedclient import JOB_UID
from umbel_operator.agent.holding import Diagnosis, not_ready, ready
from umbel_operator.agent.lifecycle import final_of
from umbel_operator.conditions import Condition, find, seconds

Object = Mapping[str, Any]

RUNNING = "Running"
PENDING = "Pending"
STILL_PENDING = "StillPending"
IMAGE_PULL = "ImagePullBackOff"
UNSCHEDULABLE = "Unschedulable"
CRASH_LOOP = "CrashLoopBackOff"
OUT_OF_MEMORY = "OOMKilled"
VOLUME_NOT_BOUND = "VolumeNotBound"
CONFIG_ERROR = "CreateContainerConfigError"
REFUSED = "Refused"
POD_REFUSED = "PodNotAdmitted"

PULLING = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
CONFIGURING = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
REFUSED_EXIT = 2
STOPPED_EXIT = 75  # by a signal: whoever stopped it starts it again
SETTLED_SECONDS = 10.0  # alive so long, a client that was started again counts as running
PENDING_SECONDS = 300.0


def diagnose(
    pods: Iterable[Object],
    *,
    deployment: Object | None = None,
    unbound: Iterable[str] = (),
    pending_seconds: float = 0.0,
    now: float,
) -> Diagnosis:
    """``unbound``: which volumes are not there, in words. ``pending_seconds``: for how long, as far as it was seen, no
    container has run."""
    pod = newest(pods)
    if pod is None:
        failure = find(((deployment or {}).get("status") or {}).get("conditions"), "ReplicaFailure")
        if failure.get("status") == "True":
            return not_ready(
                POD_REFUSED, "the silo's cluster makes no pod: a quota, Pod Security or admission forbids it"
            )
        return _pending(pending_seconds)
    status = _container(pod)
    return _of_container(status, now) or _of_pod(pod, list(unbound), pending_seconds)


def newest(pods: Iterable[Object]) -> Object | None:
    """The pod that counts: one that is going away only if there is no other."""
    return max(pods, key=_age, default=None)


def final_round(pods: Iterable[Object], job_uid: str) -> int | None:
    """The round of the final model, if a client of this job has ended with it in its state volume."""
    for pod in pods:
        if (pod["metadata"].get("labels") or {}).get(JOB_UID) != job_uid:
            continue
        for ended in _ends(_container(pod)):
            if ended.get("exitCode") == 0 and (round_ := final_of(ended.get("message") or "")) is not None:
                return round_
    return None


def running(pods: Iterable[Object]) -> bool:
    """Whether any container runs: the time until then is what `pending_seconds` counts."""
    return any("running" in (_container(pod).get("state") or {}) for pod in pods)


def _age(pod: Object) -> tuple[bool, str, str]:
    metadata = pod["metadata"]
    return "deletionTimestamp" not in metadata, metadata.get("creationTimestamp") or "", metadata["name"]


def _container(pod: Object) -> Object:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((status for status in statuses if status.get("name") == "client"), {})


def _ends(status: Object) -> Iterable[Object]:
    for state in (status.get("state"), status.get("lastState")):
        if ended := (state or {}).get("terminated"):
            yield ended


def _of_container(status: Object, now: float) -> Diagnosis | None:
    """None: no container has been started yet."""
    state = status.get("state") or {}
    last = next(iter(_ends(status)), None)
    waiting = (state.get("waiting") or {}).get("reason") or ""
    if waiting in PULLING:
        return not_ready(IMAGE_PULL, "the image cannot be pulled: is its name right, may the silo pull it?")
    if waiting in CONFIGURING:
        return not_ready(
            CONFIG_ERROR, f"the container cannot be started ({waiting}): a Secret, volume or command is wrong"
        )
    if "running" in state:
        started = state["running"].get("startedAt")
        alive = now - seconds(started) if started else SETTLED_SECONDS
        if last is None or alive >= SETTLED_SECONDS or last.get("exitCode") in (0, STOPPED_EXIT):
            return ready(RUNNING, "the client runs")
        return Diagnosis(_ended(last), max(0.5, SETTLED_SECONDS - alive))
    if last is None:
        return None
    if last.get("exitCode") == 0:
        return not_ready(PENDING, "the client has ended and is being started again")
    return Diagnosis(_ended(last))


def _ended(last: Object) -> Condition:
    code = last.get("exitCode")
    if last.get("reason") == "OOMKilled":
        return Condition("Ready", "False", OUT_OF_MEMORY, "the client used more memory than its limit")
    if code == REFUSED_EXIT:
        words = "the server refused the client, or its code failed (exit code 2): its log in the silo says which"
        return Condition("Ready", "False", REFUSED, words)
    return Condition("Ready", "False", CRASH_LOOP, f"the client ends with exit code {code} and is started again")


def _of_pod(pod: Object, unbound: list[str], pending_seconds: float) -> Diagnosis:
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Failed":
        reason = (pod.get("status") or {}).get("reason") or ""
        known = reason if re.fullmatch(r"[A-Za-z]{1,64}", reason) else "Failed"
        return not_ready(PENDING, f"its pod was ended by the silo's cluster ({known}) and is being replaced")
    scheduled = find((pod.get("status") or {}).get("conditions"), "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") in ("Unschedulable", "SchedulerError"):
        said = scheduled.get("message") or ""
        # Most volumes are bound when their pod has a node: of one that is not, only the scheduler knows whether it is
        # what is waited for.
        if unbound and re.search("volume|free storage", said, re.IGNORECASE):
            return not_ready(VOLUME_NOT_BOUND, f"not bound: {', '.join(unbound)}")
        lacking = sorted(set(re.findall(r"Insufficient ([A-Za-z0-9./-]{1,64}?)[,.;]?(?=\s|$)", said)))
        words = f": not enough {', '.join(lacking[:4])}" if lacking else ""
        return not_ready(UNSCHEDULABLE, f"no node of the silo takes the pod{words}")
    return _pending(pending_seconds)


def _pending(pending_seconds: float) -> Diagnosis:
    words = "its pod is being started"
    if pending_seconds >= PENDING_SECONDS:
        return not_ready(STILL_PENDING, f"{words}, for more than {PENDING_SECONDS / 60:.0f} minutes")
    return not_ready(PENDING, words, PENDING_SECONDS - pending_seconds)
