"""What states and reasons come to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.standing import PHASES, Phase, lost, standing


def job(state: str, reason: str = "", code: int | None = None, signal: int | None = None) -> BatchJob:
    return BatchJob("1", state, "umbel-a", reason=reason, exit_code=code, signal=signal)


@pytest.mark.parametrize("reason", ["", "Priority", "Resources", "None", "BeginTime", "Licenses", "QOSGrpCpuLimit"])
def test_waiting_for_its_turn(reason: str) -> None:
    found = standing(job("PENDING", reason))
    assert (found.phase, found.reason, found.hopeless) == (Phase.QUEUED, "Queued", False)


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("PartitionTimeLimit", "TimeLimitTooLong"),
        ("QOSMaxWallDurationPerJobLimit", "TimeLimitTooLong"),
        ("PartitionNodeLimit", "ImpossibleRequest"),
        ("PartitionConfig", "ImpossibleRequest"),
        ("BadConstraints", "ImpossibleRequest"),
        ("AssocMaxCpuPerJobLimit", "OverLimit"),
        ("QOSMinGRES", "OverLimit"),
        ("AccountNotAllowed", "NotAllowed"),
        ("InvalidQOS", "NotAllowed"),
        ("DependencyNeverSatisfied", "ImpossibleRequest"),
    ],
)
def test_what_will_never_start(reason: str, ours: str) -> None:
    found = standing(job("PENDING", reason))
    assert (found.reason, found.hopeless) == (ours, True)


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("ReqNodeNotAvail, UnavailableNodes:n1", "NodesUnavailable"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "NodesUnavailable",
        ),
        ("NodeDown", "NodesUnavailable"),
        ("PartitionDown", "PartitionDown"),
        ("PartitionInactive", "PartitionDown"),
        ("JobHeldUser", "Held"),
        ("launch failed requeued held", "Held"),
    ],
)
def test_what_somebody_at_the_site_can_mend(reason: str, ours: str) -> None:
    found = standing(job("PENDING", reason))
    assert (found.phase, found.reason, found.hopeless) == (Phase.QUEUED, ours, False)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (job("PREEMPTED"), "Preempted"),
        (job("NODE_FAIL"), "NodeFailed"),
        (job("TIMEOUT", "TimeLimit", 0, 15), "TimeLimit"),
        (job("CANCELLED", "", 0, 15), "Cancelled"),
        (job("COMPLETED", "", 0, 0), "Completed"),
        (job("OUT_OF_MEMORY", "", 0, 9), "OutOfMemory"),
        (job("DEADLINE"), "DeadlinePassed"),
        (job("FAILED", "NonZeroExitCode", 75, 0), "Stopped"),
        (job("FAILED", "NonZeroExitCode", 2, 0), "Refused"),
        (job("FAILED", "NonZeroExitCode", 1, 0), "Failed"),
        (job("FAILED", "BadConstraints", 1, 0), "ImpossibleRequest"),
        (job("FAILED", "RaisedSignal:9(Killed)", 0, 9), "Killed"),
        (job("FAILED", "JobLaunchFailure"), "LaunchFailed"),
    ],
)
def test_ends(ended: BatchJob, reason: str) -> None:
    found = standing(ended)
    assert (found.phase, found.reason) == (Phase.ENDED, reason)


def test_a_state_of_a_later_version_is_not_an_end() -> None:
    assert standing(job("TELEPORTING")).phase is Phase.UNKNOWN
    assert standing(job("COMPLETING", "NonZeroExitCode", 2, 0)).phase is Phase.ENDING


def test_what_was_forgotten_has_ended() -> None:
    assert lost().phase is Phase.ENDED


@given(
    state=st.sampled_from(sorted(PHASES)) | st.text(max_size=20),
    reason=st.text(max_size=40),
    code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(0, 64),
)
def test_every_job_has_a_standing_and_its_words_are_ours(
    state: str, reason: str, code: int | None, signal: int | None
) -> None:
    found = standing(job(state, reason, code, signal))
    assert found.phase is PHASES.get(state, Phase.UNKNOWN)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", found.reason)
    assert found.message
    assert len(reason) < 4 or reason not in found.message or reason in standing(job(state, "", code, signal)).message
    assert not (found.hopeless and found.phase is not Phase.QUEUED)
