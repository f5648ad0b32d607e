"""The page of one job."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from umbel_monitoring.alerts import CERTIFICATE_HOURS
from umbel_monitoring.pages import JOB, SELECTED, by_job, page, per_interval
from umbel_monitoring.panels import BAD, GOOD, Panel, Query, graph, number, states

HOUR = 3600
OF_SERVER = f"on (job, instance) (fl_job_round{{{SELECTED}}})"  # which process is this job's server


def build() -> dashboard.Dashboard:
    description = "One FederatedJob. Numbers derived from members move only when a round is released."
    content = [
        ("Now", _now()),
        ("Rounds", _rounds()),
        ("Model", _model()),
        ("Members", _members()),
        ("Server", _server()),
    ]
    return page(JOB, description, "3h", content, one_job=True)


def _quantile(share: float, histogram: str, label: str = "") -> str:
    by = f"le, {label}" if label else "le"
    rate = f"rate({histogram}_bucket{{{SELECTED}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({by}) ({rate}))"


def _mean(histogram: str, label: str = "") -> str:
    by = f" by ({label})" if label else ""
    total, count = (f"sum{by} (rate({histogram}_{part}{{{SELECTED}}}[$__rate_interval]))" for part in ("sum", "count"))
    return f"{total} / {count}"


def _now() -> Sequence[Panel]:
    return [
        number(
            "Job",
            "The phase that the job's status shows, from the operator: it stays when the server is gone.",
            "none",
            Query(by_job("fl_federatedjob_status_phase", "max", "phase") + " == 1", "{{phase}}"),
            names=True,
        ),
        number(
            "Round",
            "The last committed one, and spec.rounds.total.",
            "none",
            Query(by_job("fl_job_round"), "committed"),
            Query(by_job("fl_job_rounds_target"), "total"),
        ),
        number(
            "Round's deadline in",
            "Of the open round's training or evaluation. Nothing while none is open.",
            "s",
            Query(f"({by_job('fl_round_deadline_timestamp_seconds')} > 0) - time()"),
            steps=[(None, BAD), (0, "text")],
        ),
        number(
            "Job's deadline in",
            "Until spec.activeDeadlineSeconds have passed since its start.",
            "s",
            Query(f"{by_job('fl_federatedjob_deadline_timestamp_seconds')} - time()"),
            steps=[(None, BAD), (HOUR, "text")],
        ),
        number(
            "Checkpoint age",
            "Since the model was last written to disk.",
            "s",
            Query(f"time() - {by_job('fl_checkpoint_last_success_timestamp_seconds')}"),
        ),
        number(
            "First certificate ends in",
            "Of the connected silos, and the server's own. Renewed at two thirds of their life.",
            "s",
            Query(f"{by_job('fl_silo_certificate_earliest_expiry_timestamp_seconds', 'min')} - time()", "silos"),
            Query(f"{by_job('fl_server_certificate_expiry_timestamp_seconds', 'min')} - time()", "server"),
            steps=[(None, BAD), (CERTIFICATE_HOURS * HOUR, GOOD)],
        ),
        states(
            "Phase",
            "What the server does.",
            Query(by_job("fl_job_status_phase", "max", "phase"), "{{phase}}"),
            {"0": ("no", "transparent"), "1": ("yes", "blue")},
        ),
    ]


def _rounds() -> Sequence[Panel]:
    return [
        graph(
            "Rounds committed",
            "And spec.rounds.total, which may be changed while the job runs.",
            "none",
            Query(by_job("fl_job_round"), "committed"),
            Query(by_job("fl_job_rounds_target"), "total"),
        ),
        graph(
            "Attempts closed",
            "By outcome. An abandoned one leaves the model as it was and is opened again.",
            "none",
            Query(per_interval("fl_rounds_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "How long rounds take",
            "From opening to release.",
            "s",
            Query(_mean("fl_round_duration_seconds"), "mean"),
            Query(_quantile(0.9, "fl_round_duration_seconds"), "90 %"),
        ),
        graph(
            "Where the time goes",
            "Mean seconds of each step of a round.",
            "s",
            Query(_mean("fl_round_phase_duration_seconds", "phase"), "{{phase}}"),
            stacked=True,
        ),
        graph(
            "Cohort of the last round",
            "What became of those invited to the last released round.",
            "none",
            Query(by_job("fl_round_clients", "max", "stage", where='stage!="invited"'), "{{stage}}"),
            stacked=True,
        ),
        graph(
            "Examples behind the last round",
            "Only where they are above the floor.",
            "short",
            Query(by_job("fl_round_examples"), "examples"),
        ),
    ]


def _model() -> Sequence[Panel]:
    return [
        graph(
            "Loss",
            "Released means, of training and of evaluation.",
            "short",
            Query(by_job("fl_model_loss", "max", "phase"), "{{phase}}"),
            floor=None,
        ),
        graph(
            "Metrics",
            "Released means, as spec.metrics declares them.",
            "short",
            Query(by_job("fl_model_metric", "max", "phase", "metric"), "{{metric}} ({{phase}})"),
            floor=None,
        ),
        graph(
            "Length of the update",
            "2-norm of the last released mean update.",
            "short",
            Query(by_job("fl_model_update_norm"), "norm"),
        ),
    ]


def _members() -> Sequence[Panel]:
    return [
        graph(
            "Members",
            "Of the job, by whether they are connected to its server.",
            "none",
            Query(by_job("fl_silos", "max", "state"), "{{state}}"),
            stacked=True,
        ),
        graph(
            "Updates refused",
            "By reason.",
            "none",
            Query(per_interval("fl_client_updates_rejected_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Metrics withheld",
            "Values that were not released, by reason.",
            "none",
            Query(per_interval("fl_metrics_withheld_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Sessions asked for",
            "By outcome. Unidentified: without a certificate of the hub's authority.",
            "none",
            Query(per_interval("fl_join_requests_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Calls",
            "By method and answer.",
            "reqps",
            Query(
                f"sum by (method, code) (rate(fl_grpc_requests_total{{{SELECTED}}}[$__rate_interval])) > 0",
                "{{method}} {{code}}",
            ),
        ),
        graph(
            "Bytes moved",
            "Models down to members, updates up.",
            "Bps",
            Query(
                f"sum by (direction) (rate(fl_transfer_bytes_total{{{SELECTED}}}[$__rate_interval]))", "{{direction}}"
            ),
        ),
    ]


def _server() -> Sequence[Panel]:
    return [
        graph(
            "How long an update is held",
            "From its first byte until it is folded into the sum and overwritten.",
            "s",
            Query(_quantile(0.5, "fl_update_residency_seconds"), "median"),
            Query(_quantile(0.99, "fl_update_residency_seconds"), "99 %"),
        ),
        graph(
            "Updates held",
            "Bytes of single updates in memory, as of the last release or flush. Not zero while idle is a fault.",
            "bytes",
            Query(by_job("fl_server_update_buffer_bytes"), "held"),
        ),
        graph(
            "Checkpoint age",
            "Since the model was last written to disk.",
            "s",
            Query(f"time() - {by_job('fl_checkpoint_last_success_timestamp_seconds')}", "age"),
        ),
        graph(
            "Checkpoints not written",
            "By reason. The round is abandoned when a second and a third try fail too.",
            "none",
            Query(per_interval("fl_checkpoint_failures_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Memory",
            "Of the server's process.",
            "bytes",
            Query(f"max(process_resident_memory_bytes and {OF_SERVER})", "resident"),
        ),
        graph(
            "Processor",
            "Of the server's process, in cores.",
            "none",
            Query(f"sum(rate(process_cpu_seconds_total[$__rate_interval]) and {OF_SERVER})", "used"),
        ),
    ]
