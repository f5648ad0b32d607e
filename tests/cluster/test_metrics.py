"""What Prometheus would see of operator and server: the promised names, plausible values, and nobody's name."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from .federation import OPERATOR_HTTP, SILOS, Federation, Job
from .scrape import Scrape
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

LABELS = {
    *("fl_namespace", "fl_job", "phase", "stage", "outcome", "reason", "state", "kind", "metric", "method", "code"),
    *("direction", "le", "version", "grpc_version", "python_version"),
}
SERVER = {
    *("fl_job_status_phase", "fl_job_round", "fl_job_rounds_target", "fl_round_start_timestamp_seconds"),
    *("fl_round_deadline_timestamp_seconds", "fl_round_clients", "fl_round_examples", "fl_model_loss"),
    *("fl_model_metric", "fl_model_update_norm", "fl_server_update_buffer_bytes", "fl_silos"),
    *("fl_silo_certificate_earliest_expiry_timestamp_seconds", "fl_checkpoint_last_success_timestamp_seconds"),
    *("fl_build_info", "fl_rounds", "fl_client_updates", "fl_client_updates_rejected", "fl_transfer_bytes"),
    *("fl_metrics_withheld", "fl_join_requests", "fl_checkpoint_failures", "fl_grpc_requests"),
    *("fl_round_duration_seconds", "fl_round_phase_duration_seconds", "fl_update_residency_seconds"),
}
OPERATOR = {
    *("fl_silos", "fl_jobs", "fl_reconcile_errors", "fl_reconcile_duration_seconds", "fl_build_info"),
    "fl_operator_watch_echo_timestamp_seconds",
}
READ = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=10).read())"


def test_the_servers_metrics_after_some_rounds(federation: Federation) -> None:
    """One scrape shows whole rounds, so that its numbers agree with one another."""
    with federation.job("measured", rounds__total=ENDLESS) as job:
        job.until_round(3)
        seen = job.server_metrics()
        assert seen.families.keys() >= SERVER
        nobody_is_named(seen, job)
        rounds = seen.value("fl_rounds_total", outcome="committed")
        assert rounds >= 3
        assert seen.value("fl_job_round") - rounds in (0, 1), "the last one may be committed and not released"
        assert seen.value("fl_job_rounds_target") == ENDLESS
        assert seen.value("fl_rounds_total", outcome="abandoned") == 0
        assert seen.value("fl_client_updates_total", outcome="full") == 4 * rounds
        assert seen.value("fl_round_clients", stage="invited") == 4
        assert seen.value("fl_silos", state="connected") == 4
        assert seen.value("fl_round_duration_seconds_count") == rounds
        assert seen.value("fl_update_residency_seconds_count") == 4 * rounds
        assert 0 < seen.value("fl_model_metric", phase="evaluate", metric="accuracy") <= 1
        assert seen.value("fl_model_loss", phase="train") > 0
        assert seen.value("fl_grpc_requests_total", method="PutUpdate", code="OK") >= 4 * rounds
        assert seen.value("fl_join_requests_total", outcome="accepted") >= 4
        moved = seen.value("fl_transfer_bytes_total", direction="up")
        assert 0 < moved <= seen.value("fl_transfer_bytes_total", direction="down")
        day = 24 * 3600
        expiry = seen.value("fl_silo_certificate_earliest_expiry_timestamp_seconds")
        assert time.time() + day / 3 < expiry <= time.time() + day
        assert 0 <= time.time() - seen.value("fl_checkpoint_last_success_timestamp_seconds") < day


def test_the_operators_metrics(federation: Federation) -> None:
    before = operator_metrics(federation)
    with federation.job("counted", rounds__total=1) as job:
        job.until_complete()
        job.until(lambda j: operator_metrics(federation).value("fl_jobs", phase="Complete") >= 1, "counted as complete")
        seen = operator_metrics(federation)
        assert seen.families.keys() >= OPERATOR
        nobody_is_named(seen, job)
        passes = "fl_reconcile_duration_seconds_count"
        assert seen.value(passes, kind="FederatedJob") > before.value(passes, kind="FederatedJob")
        job.until(lambda j: operator_metrics(federation).value("fl_silos", state="Ready") == 4, "four silos")
        assert seen.value("fl_reconcile_errors_total", kind="FederatedJob", reason="Fault") == 0
        assert 0 <= time.time() - seen.value("fl_operator_watch_echo_timestamp_seconds") < 120


def operator_metrics(federation: Federation) -> Scrape:
    command = federation.hub.inside([sys.executable, "-c", READ, f"http://{OPERATOR_HTTP}/metrics"])
    return Scrape(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def nobody_is_named(seen: Scrape, job: Job) -> None:
    """Neither a silo nor anything else of one: its client's name, its pod, its address."""
    samples = [sample for family in seen.families.values() for sample in family.samples]
    assert not [name for name in seen.families if name.endswith("_created")], "when something was first seen"
    assert {label for sample in samples for label in sample.labels} <= LABELS
    values = {value for sample in samples for value in sample.labels.values()}
    pods = [pod for silo in SILOS for pod in job.client_pods(silo)]
    private = {*SILOS, *(pod["metadata"]["name"] for pod in pods), *(pod["status"].get("podIP", "") for pod in pods)}
    private |= {client["metadata"]["name"] for client in job.clients().values()}
    assert not [value for value in values if value in private or any(silo in value for silo in SILOS)]
