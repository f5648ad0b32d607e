"""Every metric of the server: name, help, labels with their values. P1: nothing else can be exported.

``buffered`` metrics move only when a round is released, or at the flush between rounds. What has labels from a list
exists from the start, at 0; ``when_known`` is absent until there is something true to say, and again when a floor has
removed it.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

from umbel.aggregation import release
from umbel.server import checkpoint
from umbel.wire import umbel_pb2 as pb

CONSTANT = ("fl_namespace", "fl_job")  # on every metric, with the job's
LABELS = frozenset(
    {
        "phase",
        "stage",
        "outcome",
        "reason",
        "state",
        "kind",
        "metric",
        "method",
        "code",
        "direction",
        "version",
        "grpc_version",
        "python_version",
    }
)
PHASES = ("Gathering", "Training", "Closing", "Evaluating", "Releasing", "Suspended", "Complete", "Failed")
STEPS = ("gather", "train", "close", "checkpoint", "evaluate", "release")
RELEASED = ("train", "evaluate")
OUTCOMES = ("full", "partial", "declined", "timed_out", "lost")
METHODS = ("GetModel", "PutUpdate", "PutEvaluation")
CODES = ("OK", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNAVAILABLE")
REJECTED = tuple(pb.RejectReason.keys()[1:])  # the first one is: none
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Declared:
    """``labels``: name -> every value it can have (``()`` for ``metric``: the job's own names)."""

    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    buffered: bool = False
    when_known: bool = False


def _gauge(help: str, /, *, buffered: bool = False, when_known: bool = False, **labels: tuple[str, ...]) -> Declared:
    return Declared("gauge", help, labels, buffered, when_known)


def _counter(help: str, /, *, buffered: bool = False, **labels: tuple[str, ...]) -> Declared:
    return Declared("counter", help, labels, buffered)


def _histogram(help: str, /, **labels: tuple[str, ...]) -> Declared:
    return Declared("histogram", help, labels, buffered=True)


METRICS: dict[str, Declared] = {
    "fl_build_info": _gauge(
        "1.",
        version=(version("umbel"),),
        grpc_version=(version("grpcio"),),
        python_version=(platform.python_version(),),
    ),
    "fl_job_status_phase": _gauge("1 for the phase that the job is in.", phase=PHASES),
    "fl_job_round": _gauge("The last committed round."),
    "fl_job_rounds_target": _gauge("spec.rounds.total."),
    "fl_round_start_timestamp_seconds": _gauge("Unix time of the last released round's opening."),
    "fl_job_round_timeout_seconds": _gauge("Longest that a round may take: its training and its evaluation."),
    "fl_round_deadline_timestamp_seconds": _gauge("Unix time when the open round's step must end; 0: none open."),
    "fl_round_clients": _gauge("Members of the last released round.", buffered=True, stage=("invited", *OUTCOMES)),
    "fl_round_examples": _gauge("Examples behind the last released round.", buffered=True, when_known=True),
    "fl_model_loss": _gauge("Released mean loss of the model.", buffered=True, when_known=True, phase=RELEASED),
    "fl_model_metric": _gauge(
        "Released mean of a declared metric.", buffered=True, when_known=True, phase=RELEASED, metric=()
    ),
    "fl_model_update_norm": _gauge("2-norm of the last released mean update.", buffered=True, when_known=True),
    "fl_server_update_buffer_bytes": _gauge("Bytes of updates held at the last flush.", buffered=True),
    "fl_silos": _gauge("Members by state.", state=("connected", "absent")),
    "fl_silo_certificate_earliest_expiry_timestamp_seconds": _gauge(
        "Unix time when the first of the connected silos' certificates ends.", when_known=True
    ),
    "fl_server_certificate_expiry_timestamp_seconds": _gauge(
        "Unix time when the server's own certificate ends.", when_known=True
    ),
    "fl_checkpoint_last_success_timestamp_seconds": _gauge("Unix time of the last checkpoint.", when_known=True),
    "fl_rounds_total": _counter("Closed attempts.", buffered=True, outcome=("committed", "abandoned")),
    "fl_client_updates_total": _counter("What became of invitations.", buffered=True, outcome=OUTCOMES),
    "fl_client_updates_rejected_total": _counter("Refused updates.", buffered=True, reason=REJECTED),
    "fl_transfer_bytes_total": _counter("Bytes of models and updates.", buffered=True, direction=("up", "down")),
    "fl_metrics_withheld_total": _counter(
        "Values that were not released.", buffered=True, reason=(*release.REASONS, "not_recorded")
    ),
    "fl_join_requests_total": _counter("Sessions.", buffered=True, outcome=("accepted", "refused", "unidentified")),
    "fl_checkpoint_failures_total": _counter("Checkpoints or state files not written.", reason=checkpoint.WRITE_FAULTS),
    "fl_grpc_requests_total": _counter("Calls.", buffered=True, method=METHODS, code=CODES),
    "fl_round_duration_seconds": _histogram("Opening to release."),
    "fl_round_phase_duration_seconds": _histogram("Phases of a round.", phase=STEPS),
    "fl_update_residency_seconds": _histogram("First byte of an update to its fold."),
}
