"""Every reason that the round engine gives, as the constants that status, conditions and reports use."""

from __future__ import annotations

from typing import Final

# Why a job is Complete.
ALL_ROUNDS_COMMITTED: Final = "AllRoundsCommitted"
STOP_CONDITION_MET: Final = "StopConditionMet"

# Why a job is Failed. `CannotContinue` brings a reason of its own.
TOO_MANY_ABANDONED: Final = "TooManyAbandoned"
DIVERGED: Final = "Diverged"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"

# Why an attempt was abandoned, with the model unchanged.
QUORUM_NOT_REACHED: Final = "QuorumNotReached"  # at the deadline
QUORUM_LOST: Final = "QuorumLost"  # before it: nobody is left who could make up the quorum
TOO_FEW_EXAMPLES: Final = "TooFewExamples"
SUSPENDED: Final = "Suspended"
JOB_ENDED: Final = "JobEnded"
TOTAL_LOWERED: Final = "TotalLowered"
NOT_FINITE: Final = "NotFinite"
CHECKPOINT_FAILED: Final = "CheckpointFailed"

# Why no round is open, or what is going on.
WAITING_FOR_MEMBER_LIST: Final = "WaitingForMemberList"
WAITING_FOR_MEMBERS: Final = "WaitingForMembers"  # gatherSeconds are running
QUORUM_NOT_CONNECTED: Final = "QuorumNotConnected"  # they have run out
QUORUM_NOT_ELIGIBLE: Final = "QuorumNotEligible"  # connected, but kept away by their silos' own rules
ROUND_OPEN: Final = "RoundOpen"
COMMITTING: Final = "Committing"
EVALUATING: Final = "Evaluating"
RELEASING: Final = "Releasing"

ABANDONED: Final = frozenset(
    {
        QUORUM_NOT_REACHED,
        QUORUM_LOST,
        TOO_FEW_EXAMPLES,
        SUSPENDED,
        JOB_ENDED,
        TOTAL_LOWERED,
        NOT_FINITE,
        CHECKPOINT_FAILED,
    }
)
