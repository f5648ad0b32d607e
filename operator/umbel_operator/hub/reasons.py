"""Every reason that the hub's conditions and events give. (Those of a round are in umbel.rounds.reasons.)"""

from __future__ import annotations

from typing import Final

# Condition types of a FederatedJob.
PROGRESSING: Final = "Progressing"
COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
SERVER_READY: Final = "ServerReady"
SILOS_READY: Final = "SilosReady"
SUSPENDED: Final = "Suspended"
OUTPUT_WRITTEN: Final = "OutputWritten"
SPEC_ACCEPTED: Final = "SpecAccepted"
RECONCILED: Final = "Reconciled"

# Progressing.
STARTING: Final = "Starting"
TRAINING: Final = "Training"
WAITING_FOR_SILOS: Final = "WaitingForSilos"
WAITING_FOR_ENDPOINT: Final = "WaitingForEndpoint"
TOO_FEW_SILOS: Final = "TooFewSilos"  # a selector that does not match enough

# Failed, beside the round engine's own.
INVALID_SPEC: Final = "InvalidSpec"
SERVER_MISCONFIGURED: Final = "ServerMisconfigured"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"

# ServerReady.
REACHABLE: Final = "Reachable"
ENDED: Final = "Ended"
NODE_LOST: Final = "NodeLost"

# SilosReady.
ALL_READY: Final = "AllReady"
SOME_NOT_READY: Final = "SomeNotReady"
NO_SUCH_SILO: Final = "NoSuchSilo"
NOT_ADMITTED: Final = "NotAdmitted"
NEVER_SEEN: Final = "NeverSeen"
AGENT_SILENT: Final = "AgentSilent"
SILO_SUSPENDED: Final = "SiloSuspended"
NO_REPORT: Final = "NoReport"

# Ready of a FederatedClient whose silo's scheduler has not had its turn yet, as the agent says it.
QUEUED: Final = frozenset({"Queued", "PendingTimeout", "NodesUnavailable", "PartitionDown", "Held"})

APPLY_FAILED: Final = "ApplyFailed"
