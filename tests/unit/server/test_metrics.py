"""What ``/metrics`` may say, and when it may begin to say it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from umbel.aggregation import release
from umbel.server.metric_names import LABELS, METRICS
from umbel.server.metrics import LabelError, ServerMetrics
from umbel.wire import umbel_pb2 as pb

from .things import record, traffic

PAGE = [
    "fl_job_status_phase",
    "fl_job_round",
    "fl_job_rounds_target",
    "fl_job_round_timeout_seconds",
    "fl_round_start_timestamp_seconds",
    "fl_round_deadline_timestamp_seconds",
    "fl_round_clients",
    "fl_round_examples",
    "fl_model_loss",
    "fl_model_metric",
    "fl_model_update_norm",
    "fl_server_update_buffer_bytes",
    "fl_silos",
    "fl_silo_certificate_earliest_expiry_timestamp_seconds",
    "fl_server_certificate_expiry_timestamp_seconds",
    "fl_checkpoint_last_success_timestamp_seconds",
    "fl_build_info",
    "fl_rounds_total",
    "fl_client_updates_total",
    "fl_client_updates_rejected_total",
    "fl_transfer_bytes_total",
    "fl_metrics_withheld_total",
    "fl_join_requests_total",
    "fl_checkpoint_failures_total",
    "fl_grpc_requests_total",
    "fl_round_duration_seconds",
    "fl_round_phase_duration_seconds",
    "fl_update_residency_seconds",
]
BUFFERED = [
    "fl_round_clients",
    "fl_round_examples",
    "fl_model_loss",
    "fl_model_metric",
    "fl_model_update_norm",
    "fl_server_update_buffer_bytes",
    "fl_rounds_total",
    "fl_client_updates_total",
    "fl_client_updates_rejected_total",
    "fl_transfer_bytes_total",
    "fl_grpc_requests_total",
    "fl_round_duration_seconds",
    "fl_round_phase_duration_seconds",
    "fl_update_residency_seconds",
]
TRUE_ONLY_WHEN_KNOWN = {
    "fl_round_examples",
    "fl_model_loss",
    "fl_model_metric",
    "fl_model_update_norm",
    "fl_silo_certificate_earliest_expiry_timestamp_seconds",
    "fl_server_certificate_expiry_timestamp_seconds",
    "fl_checkpoint_last_success_timestamp_seconds",
}
ALLOWED = {
    "fl_namespace",
    "fl_job",
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
    "le",
    "version",
    "grpc_version",
    "python_version",
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def metrics() -> ServerMetrics:
    return ServerMetrics("oncology", "trial", ["accuracy"])


def samples(metrics: ServerMetrics) -> Samples:
    """Ours, without the two labels that all of them carry."""
    found: Samples = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name.startswith("fl_"):
                labels = dict(sample.labels)
                assert (labels.pop("fl_namespace"), labels.pop("fl_job")) == ("oncology", "trial")
                found[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


def value(metrics: ServerMetrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


# ---- P1: a closed set


def test_the_page_is_complete_and_nothing_is_beside_it() -> None:
    assert sorted(METRICS) == sorted(PAGE)


@pytest.mark.parametrize("name", PAGE)
def test_every_metric_has_help_and_only_allowed_labels(name: str) -> None:
    assert METRICS[name].help
    assert METRICS[name].labels.keys() <= LABELS <= ALLOWED


def test_only_the_libraries_own_process_metrics_are_beside_ours(metrics: ServerMetrics) -> None:
    names = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    assert {name for name in names if not name.startswith("fl_")} <= {
        *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds"),
        *("process_cpu_seconds", "process_open_fds", "process_max_fds", "python_info"),
    }


def test_every_label_of_every_sample_is_allowed(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(), [0.1])
    metrics.publish_traffic(traffic(), 5)
    for line in metrics.text().decode().splitlines():
        if line.startswith("fl_"):
            assert set(re.findall(r'(\w+)="', line)) <= ALLOWED
            assert "#" not in line, "an exemplar would say when"


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("fl_silo_updates_total", {}),
        ("fl_silos", {}),
        ("fl_silos", {"state": "hospital-a"}),
        ("fl_silos", {"state": "connected", "silo": "hospital-a"}),
        ("fl_job_round", {"phase": "train"}),
        ("fl_checkpoint_failures_total", {"reason": "[Errno 28] /state"}),
        ("fl_job_status_phase", {"phase": ""}),
    ],
)
def test_what_is_not_declared_raises_and_makes_no_series(
    metrics: ServerMetrics, name: str, labels: dict[str, str]
) -> None:
    before = metrics.text()
    for move in (metrics.set, metrics.add):
        with pytest.raises(LabelError):
            move(name, 1, **labels)
    ours = [line for line in metrics.text().splitlines() if line.startswith(b"fl_")]
    assert ours == [line for line in before.splitlines() if line.startswith(b"fl_")]


def test_a_metric_name_that_the_job_does_not_have_raises(metrics: ServerMetrics) -> None:
    with pytest.raises(LabelError, match="metric cannot be"):
        metrics.publish_round(record(evaluate={"loss": 1.0, "hospital-a": 1.0}), [])


def test_a_job_without_metrics_of_its_own_has_none() -> None:
    metrics = ServerMetrics("oncology", "trial", [])
    metrics.publish_round(record(evaluate={"loss": 0.5}), [])
    assert not [name for name, _ in samples(metrics) if name == "fl_model_metric"]


@pytest.mark.parametrize("reason", [name for name in pb.RejectReason.keys() if name != "REJECT_UNSPECIFIED"])  # noqa: SIM118
def test_every_reason_of_a_refusal_has_its_series(metrics: ServerMetrics, reason: str) -> None:
    assert value(metrics, "fl_client_updates_rejected_total", reason=reason) == 0


@pytest.mark.parametrize("reason", [*release.REASONS, "not_recorded"])
def test_every_reason_of_withholding_has_its_series(metrics: ServerMetrics, reason: str) -> None:
    assert value(metrics, "fl_metrics_withheld_total", reason=reason) == 0


# ---- at the start


def test_everything_countable_is_there_at_zero(metrics: ServerMetrics) -> None:
    found = samples(metrics)
    info = [key for key in found if key[0] == "fl_build_info"]
    assert [found.pop(key) for key in info] == [1]
    assert set(found.values()) == {0}
    there = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in found} | {"fl_build_info"}
    assert there == set(PAGE) - TRUE_ONLY_WHEN_KNOWN


def test_a_value_derived_from_data_is_absent_until_it_was_released(metrics: ServerMetrics) -> None:
    assert {name for name, declared in METRICS.items() if declared.when_known} == TRUE_ONLY_WHEN_KNOWN
    assert not {name for name, _ in samples(metrics)} & TRUE_ONLY_WHEN_KNOWN


def test_there_are_no_created_series(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(), [0.1])
    assert "_created" not in metrics.text().decode()


# ---- P3: one step a round


def test_what_is_buffered_is_marked() -> None:
    marked = {name for name, declared in METRICS.items() if declared.buffered}
    assert marked >= set(BUFFERED)


@pytest.mark.parametrize("name", BUFFERED)
def test_a_buffered_metric_cannot_be_moved_by_itself(metrics: ServerMetrics, name: str) -> None:
    labels = {label: (values or ("accuracy",))[0] for label, values in METRICS[name].labels.items()}
    before = samples(metrics)
    for move in (metrics.set, metrics.add):
        with pytest.raises(LabelError, match="moves only when a round is published"):
            move(name, 1, **labels)
    assert samples(metrics) == before


def test_a_round_is_published_with_all_it_has(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(), [0.2, 0.3])
    expected: list[tuple[str, dict[str, str], float]] = [
        ("fl_round_clients", {"stage": "invited"}, 31),
        ("fl_round_clients", {"stage": "full"}, 11),
        ("fl_client_updates_total", {"outcome": "partial"}, 7),
        ("fl_client_updates_total", {"outcome": "declined"}, 5),
        ("fl_client_updates_total", {"outcome": "timed_out"}, 1),
        ("fl_client_updates_total", {"outcome": "lost"}, 2),
        ("fl_client_updates_rejected_total", {"reason": "OUT_OF_RANGE"}, 3),
        ("fl_client_updates_rejected_total", {"reason": "WRONG_DIGEST"}, 2),
        ("fl_rounds_total", {"outcome": "committed"}, 1),
        ("fl_round_examples", {}, 1432),
        ("fl_model_loss", {"phase": "train"}, 0.75),
        ("fl_model_loss", {"phase": "evaluate"}, 0.5),
        ("fl_model_metric", {"phase": "evaluate", "metric": "accuracy"}, 0.875),
        ("fl_model_update_norm", {}, 0.625),
        ("fl_metrics_withheld_total", {"reason": "below_min_cohort"}, 4),
        ("fl_round_duration_seconds_sum", {}, 6.875),
        ("fl_round_duration_seconds_count", {}, 1),
        ("fl_round_phase_duration_seconds_sum", {"phase": "train"}, 2.0),
        ("fl_update_residency_seconds_count", {}, 2),
        ("fl_round_start_timestamp_seconds", {}, 1001.0),
    ]
    for name, labels, number in expected:
        assert value(metrics, name, **labels) == number, name


def test_counters_add_up_and_gauges_are_of_the_last_round(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(1), [])
    metrics.publish_round(record(2, examples=20, outcome="Abandoned", train={}, evaluate={}), [])
    assert value(metrics, "fl_client_updates_total", outcome="full") == 22
    assert value(metrics, "fl_round_clients", stage="full") == 11
    assert value(metrics, "fl_rounds_total", outcome="committed") == 1
    assert value(metrics, "fl_rounds_total", outcome="abandoned") == 1


def test_traffic_is_published_in_one_step(metrics: ServerMetrics) -> None:
    for _ in range(2):
        metrics.publish_traffic(traffic(), 77)
    assert value(metrics, "fl_transfer_bytes_total", direction="up") == 18000
    assert value(metrics, "fl_grpc_requests_total", method="GetModel", code="OK") == 62
    assert value(metrics, "fl_grpc_requests_total", method="PutUpdate", code="PERMISSION_DENIED") == 2
    assert value(metrics, "fl_join_requests_total", outcome="accepted") == 26
    assert value(metrics, "fl_server_update_buffer_bytes") == 77


def test_the_evaluation_of_the_initial_model_is_no_round(metrics: ServerMetrics) -> None:
    initial = record(0, counts=None, examples=None, update_norm=None, train={}, withheld={})
    metrics.publish_round(initial, [])
    assert value(metrics, "fl_rounds_total", outcome="committed") == 0
    assert value(metrics, "fl_round_duration_seconds_count") == 0
    assert value(metrics, "fl_model_loss", phase="evaluate") == 0.5


# ---- P4: below a floor there is no sample


def test_a_withheld_value_does_not_leave_the_older_one_standing(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(1), [])
    metrics.publish_round(record(2, train={}, evaluate={"loss": 0.25}, examples=None, update_norm=None), [])
    gone: list[tuple[str, dict[str, str]]] = [
        ("fl_model_loss", {"phase": "train"}),
        ("fl_model_metric", {"phase": "evaluate", "metric": "accuracy"}),
        ("fl_round_examples", {}),
        ("fl_model_update_norm", {}),
    ]
    for name, labels in gone:
        assert value(metrics, name, **labels) is None, name
    assert value(metrics, "fl_model_loss", phase="evaluate") == 0.25


def test_it_comes_back_with_the_next_release(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(1, examples=None), [])
    metrics.publish_round(record(2), [])
    assert value(metrics, "fl_round_examples") == 1432


def test_a_round_without_evaluation_leaves_the_last_one_standing(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(1), [])
    second = record(2, evaluate={})
    second.seconds["evaluate"] = 0.0
    metrics.publish_round(second, [])
    assert value(metrics, "fl_model_loss", phase="evaluate") == 0.5


def test_an_abandoned_round_takes_nothing_from_the_model(metrics: ServerMetrics) -> None:
    metrics.publish_round(record(1), [])
    abandoned: dict[str, Any] = {"train": {}, "evaluate": {}, "examples": None, "update_norm": None}
    second = record(2, outcome="Abandoned", **abandoned)
    second.seconds["evaluate"] = 0.0
    metrics.publish_round(second, [])
    assert value(metrics, "fl_model_loss", phase="train") == 0.75
    assert value(metrics, "fl_model_update_norm") == 0.625
    assert value(metrics, "fl_round_examples") is None
