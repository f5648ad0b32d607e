"""Every metric of the server: name, help, labels with their values. P1: nothing else can be exported.

``buffered`` metrics move only when a round is released, or at the flush between rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from umbel.aggregation import release
from umbel.wire import umbel_pb2 as pb

LABELS = frozenset({"phase", "stage", "outcome", "reason", "state", "kind", "metric", "method", "code", "direction"})
PHASES = ("Gathering", "Training", "Closing", "Evaluating", "Releasing", "Suspended", "Complete", "Failed")
STEPS = ("gather", "train", "close", "checkpoint", "evaluate", "release")
OUTCOMES = ("full", "partial", "declined", "timed_out", "lost")
METHODS = ("GetModel", "PutUpdate", "PutEvaluation")
CODES = ("OK", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION")
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Declared:
    """``labels``: name -> every value it can have (``()`` for ``metric``: the job's own names)."""

    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    buffered: bool = False


METRICS: dict[str, Declared] = {
    "fl_job_status_phase": Declared("gauge", "1 for the phase that the job is in.", {"phase": PHASES}),
    "fl_job_round": Declared("gauge", "The last committed round."),
    "fl_job_rounds_target": Declared("gauge", "spec.rounds.total."),
    "fl_round_start_timestamp_seconds": Declared("gauge", "Unix time of the last released round's opening."),
    "fl_round_deadline_timestamp_seconds": Declared("gauge", "Unix time of the open round's deadline; 0: none open."),
    "fl_round_clients": Declared(
        "gauge", "Members of the last released round.", {"stage": ("invited", *OUTCOMES)}, True
    ),
    "fl_round_examples": Declared("gauge", "Examples behind the last released round.", {}, True),
    "fl_model_loss": Declared("gauge", "Released mean loss.", {"phase": ("train", "evaluate")}, True),
    "fl_model_metric": Declared(
        "gauge", "Released mean of a declared metric.", {"phase": ("train", "evaluate"), "metric": ()}, True
    ),
    "fl_model_update_norm": Declared("gauge", "2-norm of the last released mean update.", {}, True),
    "fl_server_update_buffer_bytes": Declared("gauge", "Bytes of updates held at the last flush.", {}, True),
    "fl_silos": Declared("gauge", "Members by state.", {"state": ("connected", "absent")}),
    "fl_checkpoint_last_success_timestamp_seconds": Declared("gauge", "Unix time of the last checkpoint."),
    "fl_rounds_total": Declared("counter", "Closed attempts.", {"outcome": ("committed", "abandoned")}, True),
    "fl_client_updates_total": Declared("counter", "What became of invitations.", {"outcome": OUTCOMES}, True),
    "fl_client_updates_rejected_total": Declared(
        "counter", "Refused updates.", {"reason": tuple(pb.RejectReason.keys()[1:])}, True
    ),
    "fl_transfer_bytes_total": Declared("counter", "Bytes of models and updates.", {"direction": ("up", "down")}, True),
    "fl_metrics_withheld_total": Declared(
        "counter", "Values that were not released.", {"reason": (*release.REASONS, "not_recorded")}
    ),
    "fl_join_requests_total": Declared(
        "counter", "Sessions.", {"outcome": ("accepted", "refused", "unidentified")}, True
    ),
    "fl_checkpoint_failures_total": Declared(
        "counter", "Checkpoints or state files not written.", {"reason": ("disk_full", "io_error")}
    ),
    "fl_grpc_requests_total": Declared("counter", "Calls.", {"method": METHODS, "code": CODES}, True),
    "fl_round_duration_seconds": Declared("histogram", "Opening to release.", {}, True),
    "fl_round_phase_duration_seconds": Declared("histogram", "Phases of a round.", {"phase": STEPS}, True),
    "fl_update_residency_seconds": Declared("histogram", "First byte of an update to its fold.", {}, True),
}
