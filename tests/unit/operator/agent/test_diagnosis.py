"""What the state of a pod becomes for the hub."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.operator.agent.silo import NOW, RUNNING, UID, ended, pod

from umbel_operator.agent.backends.kubernetes.diagnosis import diagnose, final_round, newest
from umbel_operator.conditions import timestamp


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "dial tcp 10.0.0.7: secret.example.org"}}


def unschedulable(message: str) -> dict[str, Any]:
    found = pod()
    found["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    return found


def since(seconds: float) -> dict[str, Any]:
    return {"running": {"startedAt": timestamp(NOW - seconds)}}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(state=RUNNING), "Running"),
        (pod(state=waiting("ImagePullBackOff")), "ImagePullBackOff"),
        (pod(state=waiting("ErrImagePull")), "ImagePullBackOff"),
        (pod(state=waiting("ErrImageNeverPull")), "ImagePullBackOff"),
        (pod(state=waiting("CreateContainerConfigError")), "CreateContainerConfigError"),
        (pod(state=waiting("RunContainerError")), "CreateContainerConfigError"),
        (pod(state=waiting("CrashLoopBackOff"), last=ended(1)), "CrashLoopBackOff"),
        (pod(state=waiting("CrashLoopBackOff"), last=ended(137, reason="OOMKilled")), "OOMKilled"),
        (pod(state=waiting("CrashLoopBackOff"), last=ended(2)), "Refused"),
        (pod(state={"terminated": ended(137, reason="OOMKilled")}), "OOMKilled"),
        (pod(state={"terminated": ended(0)}), "Pending"),
        (pod(state=waiting("ContainerCreating")), "Pending"),
        (pod(state=since(1), last=ended(1)), "CrashLoopBackOff"),
        (pod(state=since(20), last=ended(1)), "Running"),
        (pod(state=since(1), last=ended(75)), "Running"),
        (pod(state=since(1), last=ended(0)), "Running"),
        (pod(), "Pending"),
        (unschedulable("0/1 nodes are available: 1 Insufficient cpu."), "Unschedulable"),
    ],
)
def test_reasons(found: dict[str, Any], reason: str) -> None:
    ready = diagnose([found], now=NOW).ready
    assert ready.reason == reason
    assert ready.status == ("True" if reason == "Running" else "False")
    assert "secret" not in ready.message


def test_the_last_exit_code_is_said() -> None:
    assert "exit code 3 " in diagnose([pod(state=waiting("CrashLoopBackOff"), last=ended(3))], now=NOW).ready.message


def test_what_a_user_wrote_is_not_repeated() -> None:
    found = pod(state=waiting("CrashLoopBackOff"), last=ended(1, "patient 4711 has", "Error"))
    assert "4711" not in diagnose([found], now=NOW).ready.message


def test_what_no_node_has_enough_of_is_said() -> None:
    message = "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. node-7 had taint secret"
    said = diagnose([unschedulable(message)], now=NOW).ready.message
    assert said.endswith("not enough cpu, nvidia.com/gpu")


@pytest.mark.parametrize(
    "message",
    [
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
        "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
        "0/1 nodes are available: 1 node(s) did not have enough free storage.",
        '0/1 nodes are available: persistentvolumeclaim "scans" not found.',
    ],
)
def test_a_volume_that_is_not_bound(message: str) -> None:
    ready = diagnose([unschedulable(message)], unbound=["the volume of chest-ct"], now=NOW).ready
    assert (ready.reason, ready.message) == ("VolumeNotBound", "not bound: the volume of chest-ct")


@pytest.mark.parametrize(
    "message",
    [
        "0/1 nodes are available: 1 Insufficient ephemeral-storage.",
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ],
)
def test_a_volume_that_is_bound_with_its_pod_is_not_to_blame(message: str) -> None:
    ready = diagnose([unschedulable(message)], unbound=["the state volume"], now=NOW).ready
    assert ready.reason == "Unschedulable"


def test_a_pod_that_the_cluster_does_not_admit() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
    ready = diagnose([], deployment={"status": {"conditions": [failure]}}, now=NOW).ready
    assert ready.reason == "PodNotAdmitted"


def test_pending_for_long_is_another_reason() -> None:
    soon, late = (diagnose([pod()], pending_seconds=seconds, now=NOW) for seconds in (299.0, 300.0))
    assert (soon.ready.reason, soon.again) == ("Pending", pytest.approx(1))
    assert (late.ready.reason, late.again) == ("StillPending", None)


def test_one_that_was_started_again_is_looked_at_when_it_has_settled() -> None:
    assert diagnose([pod(state=since(4), last=ended(1))], now=NOW).again == pytest.approx(6)


def test_of_two_pods_the_one_that_stays_counts() -> None:
    going, staying = pod("a", state=RUNNING), pod("b")
    going["metadata"] = {**going["metadata"], "deletionTimestamp": "2027-01-15T08:00:00Z"}
    assert newest([going, staying]) == staying
    assert newest([going]) == going
    assert newest([]) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"final": 30}', 30),
        ('{"final": 0}', 0),
        ("", None),
        ("{}", None),
        ('{"final": "30"}', None),
        ('{"final": true}', None),
        ('{"final": -1}', None),
        ("[1]", None),
        (json.dumps({"final": 10**12}), None),
    ],
)
def test_the_final_round_is_read_strictly(message: str, expected: int | None) -> None:
    assert final_round([pod(last=ended(0, message))], UID) == expected
    assert final_round([pod(state={"terminated": ended(0, message)})], UID) == expected


def test_a_pod_without_a_status() -> None:
    assert diagnose([{"metadata": {"name": "x"}}], now=NOW).ready.reason == "Pending"
