"""What the server's pod is doing, from its status."""

from __future__ import annotations

from typing import Any

import pytest

from umbel_operator.hub.server_pod import look, runs

RUNNING = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
AT = "2027-01-15T08:00:00Z"


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "words of a registry"}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": AT}}


def pod(
    state: dict[str, Any] | None = None, last: dict[str, Any] | None = None, restarts: int = 0, **status: Any
) -> dict[str, Any]:
    container = {"state": state or {}, "lastState": last or {}, "restartCount": restarts}
    return {"status": {"containerStatuses": [container], **status}}


UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "Pending"),
        ({}, "Pending"),
        (pod(), "Pending"),
        (pod(waiting("ContainerCreating")), "Pending"),
        (pod(waiting("ErrImagePull")), "ImagePullBackOff"),
        (pod(waiting("ImagePullBackOff")), "ImagePullBackOff"),
        (pod(waiting("InvalidImageName")), "ImagePullBackOff"),
        (pod(waiting("CreateContainerConfigError")), "CreateContainerConfigError"),
        (pod(waiting("CrashLoopBackOff"), ended(3)), "CrashLoopBackOff"),
        (pod(waiting("CrashLoopBackOff"), ended(137, "OOMKilled")), "OOMKilled"),
        (pod(ended(137, "OOMKilled")), "OOMKilled"),
        (pod(RUNNING), "Starting"),
        (pod(RUNNING, ended(137, "OOMKilled")), "Starting"),
        ({"status": {"conditions": UNSCHEDULED}}, "Unschedulable"),
    ],
)
def test_reasons(found: dict[str, Any] | None, reason: str) -> None:
    sight = look(found)
    assert sight.reason == reason
    assert "words of" not in sight.message


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (pod(ended(2, message="umbel: bad"), restarts=1), None),
        (pod(ended(2, message="umbel: bad"), restarts=2), "bad"),
        (pod(waiting("CrashLoopBackOff"), ended(2, message="x\numbel: a\numbel: b\n"), restarts=5), "a\nb"),
        (pod(ended(2, message="Traceback"), restarts=2), "the server ended with status 2; its log says why"),
        (pod(ended(1, message="umbel: bad"), restarts=9), None),
        (pod(ended(139), ended(2, message="umbel: bad"), restarts=9), None),
        (None, None),
    ],
)
def test_a_fault_is_the_servers_own_line_said_often_enough(found: dict[str, Any] | None, fault: str | None) -> None:
    assert look(found).fault == fault


@pytest.mark.parametrize(
    ("found", "has_ended"),
    [
        (pod(ended(0)), True),
        (pod(ended(1)), True),
        (pod(RUNNING, ended(0)), True),
        (pod(ended(137, "OOMKilled")), False),
        (pod(ended(2)), False),
        (pod(RUNNING), False),
        (None, False),
    ],
)
def test_only_an_outcome_is_an_end(found: dict[str, Any] | None, has_ended: bool) -> None:
    assert (look(found).ended is not None) == has_ended


def test_whether_it_runs() -> None:
    assert runs(pod(RUNNING))
    assert not runs(pod(ended(0)))
    assert not runs(pod(waiting("ContainerCreating")))
    assert not runs(None)
