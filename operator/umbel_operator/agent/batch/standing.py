"""What the state and the reason of a Slurm job mean: for the agent, and in words for a person. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from umbel_operator.agent.batch.base import BatchJob

CHECKPOINTED_EXIT = 75  # the client was told to stop, sent what it had, and can go on from there
REFUSED_EXIT = 2  # the client says that starting it again is no use


class Phase(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"  # told to end, or being cleaned up: its processes may still run
    ENDED = "ended"
    UNKNOWN = "unknown"


# Every state of 22.05, and those that later versions added.
PHASES = {
    "PENDING": Phase.QUEUED,
    "CONFIGURING": Phase.QUEUED,
    "POWER_UP_NODE": Phase.QUEUED,
    "REQUEUED": Phase.QUEUED,
    "REQUEUE_FED": Phase.QUEUED,
    "REQUEUE_HOLD": Phase.QUEUED,
    "RESV_DEL_HOLD": Phase.QUEUED,
    "SPECIAL_EXIT": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "SUSPENDED": Phase.RUNNING,
    "STOPPED": Phase.RUNNING,
    "COMPLETING": Phase.ENDING,
    "SIGNALING": Phase.ENDING,
    "STAGE_OUT": Phase.ENDING,
    "BOOT_FAIL": Phase.ENDED,
    "CANCELLED": Phase.ENDED,
    "COMPLETED": Phase.ENDED,
    "DEADLINE": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "LAUNCH_FAILED": Phase.ENDED,
    "NODE_FAIL": Phase.ENDED,
    "OUT_OF_MEMORY": Phase.ENDED,
    "PREEMPTED": Phase.ENDED,
    "RECONFIG_FAIL": Phase.ENDED,
    "REVOKED": Phase.ENDED,
    "TIMEOUT": Phase.ENDED,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """``reason`` is a constant for conditions; ``message`` has none of the user's words. ``hopeless``: queued, and it
    will never start as it is."""

    phase: Phase
    reason: str
    message: str
    hopeless: bool = False


def standing(job: BatchJob) -> Standing:
    """Of a job that the scheduler knows."""
    phase = PHASES.get(job.state, Phase.UNKNOWN)
    if phase is Phase.QUEUED:
        return _queued(job)
    if phase is Phase.ENDED:
        return _ended(job)
    return _present(job, phase)


def lost() -> Standing:
    """Of a job that was there and that neither queue nor accounting know any more: it ended, nobody knows how."""
    return Standing(Phase.ENDED, "JobForgotten", "the scheduler has forgotten the job, so it ended unseen")


# ---- queued

# Reason as squeue prints it, by pattern: (reason of ours, words, hopeless).
WAITING: tuple[tuple[str, str, str, bool], ...] = (
    (r"Priority|Resources|None|", "Queued", "the job waits in the queue for its turn", False),
    (r"BeginTime|Cleaning|Prolog", "Queued", "the job was put back into the queue and starts again soon", False),
    (
        r"PartitionTimeLimit|.*MaxWall.*|TimeLimit",
        "TimeLimitTooLong",
        "the job asks for more time than its partition or account may have at once; ask for less",
        True,
    ),
    (
        r"PartitionNodeLimit|PartitionConfig|BadConstraints|ReservationInvalid|NodeListInvalid",
        "ImpossibleRequest",
        "the partition can never give what the job asks for (nodes, processors, memory, features or time)",
        True,
    ),
    (
        r"(Assoc|QOS)(Max|Min).*Per(Job|Node)(Limit)?|(QOS|Assoc)?Min(Cpu|Memory|GRES).*",
        "OverLimit",
        "the job asks for more than its account or quality of service may have in one job",
        True,
    ),
    (
        r"AccountNotAllowed|QOSNotAllowed|InvalidAccount|InvalidQOS|.*(Account|QOS)Invalid|AccountingPolicy",
        "NotAllowed",
        "the account or the quality of service may not use the partition; the site file says which are asked for",
        True,
    ),
    (r"DependencyNeverSatisfied", "ImpossibleRequest", "the job waits for another that cannot end well", True),
    (r"Dependency|Licenses|BurstBuffer.*|FedJobLock|.*Throttle.*", "Queued", "the job waits for something else", False),
    (
        r"NodeDown|ReqNodeNotAvail.*|Nodes_required_for_job_are_DOWN.*|.*(DRAINED|DOWN|drained|unavailable).*",
        "NodesUnavailable",
        "every node that could run the job is down, drained or reserved; it starts when one is back",
        False,
    ),
    (
        r"PartitionDown|PartitionInactive|SchedDefer|Reservation.*|Maintenance",
        "PartitionDown",
        "the partition, or its reservation, starts no jobs now; it starts when the site opens it",
        False,
    ),
    (
        r"JobHeld(User|Admin)|.*(requeued?_?\s?held|Hold|held).*",
        "Held",
        "the job is held; an administrator of the site releases it with `scontrol release`",
        False,
    ),
    (
        r"(Assoc|QOS).*",
        "Queued",
        "the job waits until other jobs of its account or quality of service have ended",
        False,
    ),
)


def _queued(job: BatchJob) -> Standing:
    if job.state in ("REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"):
        return _waiting("JobHeldAdmin")
    if job.state in ("CONFIGURING", "POWER_UP_NODE"):
        return Standing(Phase.QUEUED, "Starting", "the nodes of the job are being made ready")
    return _waiting(job.reason)


def _waiting(reason: str) -> Standing:
    for pattern, ours, words, hopeless in WAITING:
        if re.fullmatch(pattern, reason):
            return Standing(Phase.QUEUED, ours, words, hopeless=hopeless)
    return Standing(Phase.QUEUED, "Queued", "the job waits in the queue")


# ---- running

PRESENT = {
    "SUSPENDED": ("JobSuspended", "the scheduler has suspended the job, and goes on with it later"),
    "STOPPED": ("JobSuspended", "the job was stopped by a signal, and keeps its nodes"),
    "SIGNALING": ("Ending", "the job has been told to end"),
    "COMPLETING": ("Ending", "the job is ending"),
    "STAGE_OUT": ("Ending", "the job has ended, and its files are being brought out"),
}


def _present(job: BatchJob, phase: Phase) -> Standing:
    if phase is Phase.UNKNOWN:
        return Standing(phase, "UnknownState", "the scheduler reports a state that this version does not know")
    return Standing(phase, *PRESENT.get(job.state, ("Running", "the job runs")))


# ---- ended

ENDS: dict[str, tuple[str, str]] = {
    "PREEMPTED": ("Preempted", "the job gave way to another of higher priority"),
    "NODE_FAIL": ("NodeFailed", "a node of the job failed"),
    "BOOT_FAIL": ("NodeFailed", "a node of the job did not start"),
    "LAUNCH_FAILED": ("LaunchFailed", "the scheduler could not launch the job on its nodes"),
    "RECONFIG_FAIL": ("LaunchFailed", "the nodes of the job could not be made ready"),
    "TIMEOUT": ("TimeLimit", "the job reached its time limit"),
    "DEADLINE": ("DeadlinePassed", "the job could not have ended before its deadline"),
    "OUT_OF_MEMORY": ("OutOfMemory", "the job used more memory than it asked for; ask for more"),
    "REVOKED": ("Cancelled", "the job was taken over by another cluster"),
}


def _ended(job: BatchJob) -> Standing:
    if job.state in ENDS:
        return Standing(Phase.ENDED, *ENDS[job.state])
    if job.state == "CANCELLED":
        return Standing(Phase.ENDED, "Cancelled", "the job was cancelled at the site")
    if job.state == "COMPLETED":
        return Standing(Phase.ENDED, "Completed", "the job has ended by itself")
    return _failed(job)


def _failed(job: BatchJob) -> Standing:
    if job.exit_code == CHECKPOINTED_EXIT:
        return Standing(Phase.ENDED, "Stopped", "the client was told to stop, and sent what it had")
    if job.reason == "BadConstraints" or (job.reason and _waiting(job.reason).hopeless):
        return Standing(Phase.ENDED, "ImpossibleRequest", _waiting(job.reason).message)
    if job.exit_code == REFUSED_EXIT:
        return Standing(Phase.ENDED, "Refused", "the client ended because it cannot take part; its log says why")
    if job.signal:
        return Standing(Phase.ENDED, "Killed", f"the job was killed by signal {job.signal}")
    if job.exit_code:
        return Standing(Phase.ENDED, "Failed", f"the client ended with exit code {job.exit_code}")
    return Standing(Phase.ENDED, "LaunchFailed", "the scheduler failed to run the job")
