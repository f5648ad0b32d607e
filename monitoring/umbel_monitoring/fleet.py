"""The page of the whole hub: which jobs run, how they do, and whether silos, certificates and operator are well."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from umbel_monitoring.alerts import AUTHORITY_DAYS, CERTIFICATE_HOURS, HEARTBEAT_SECONDS
from umbel_monitoring.pages import JOBS, SELECTED, by_job, page, per_interval, to_job, to_job_of_row
from umbel_monitoring.panels import BAD, GOOD, SOON, Column, Panel, Query, graph, number, rows

A_JOB = "{{fl_namespace}}/{{fl_job}}"
EARLIEST = "fl_federatedjob_certificate_earliest_expiry_timestamp_seconds"
PROGRESSING = by_job("fl_federatedjob_status_phase", where='phase="Progressing"') + " == 1"
HOUR, DAY = 3600, 86400


def build() -> dashboard.Dashboard:
    description = "All jobs of an Umbel hub. Numbers derived from members move only when a round is released."
    content = [("Now", _now()), ("Rounds", _rounds()), ("Model", _model()), ("Servers", _servers()), ("Hub", _hub())]
    return page(JOBS, description, "6h", content, one_job=False)


def _now() -> Sequence[Panel]:
    return [
        number(
            "Alerts firing",
            "Umbel's own alerts, as Prometheus sees them.",
            "none",
            Query('count(ALERTS{alertname=~"Umbel.+", alertstate="firing"}) or vector(0)'),
            steps=[(None, GOOD), (1, BAD)],
        ),
        number(
            "Jobs by phase",
            "FederatedJobs of the hub.",
            "none",
            Query("sum by (phase) (fl_jobs)", "{{phase}}"),
        ),
        number(
            "Silos",
            "Silos of the hub, by what their agents say. Unknown: silent for 40 s.",
            "none",
            Query('sum by (state) (fl_silos{fl_job=""})', "{{state}}"),
        ),
        number(
            "First certificate ends in",
            "Of all jobs that go on. A certificate lives 24 h and is renewed at two thirds.",
            "s",
            Query(f"min({by_job(EARLIEST, 'min')}) - time()"),
            steps=[(None, BAD), (CERTIFICATE_HOURS * HOUR, GOOD)],
        ),
        number(
            "Authority ends in",
            "The hub's certificate authority, which signs for servers and silos.",
            "s",
            Query("min(fl_authority_expiry_timestamp_seconds) - time()"),
            steps=[(None, BAD), (AUTHORITY_DAYS * DAY, GOOD)],
        ),
        number(
            "Operator heard itself",
            "Since the operator's heartbeat last came back to it on a watch of the hub's API.",
            "s",
            Query("time() - max(fl_operator_watch_echo_timestamp_seconds)"),
            steps=[(None, GOOD), (HEARTBEAT_SECONDS / 2, SOON), (HEARTBEAT_SECONDS, BAD)],
        ),
        rows(
            "Jobs",
            "As their status says; a job leads to its own page. The deadline is spec.activeDeadlineSeconds.",
            {"fl_namespace": "Namespace", "fl_job": "Job", "phase": "Phase"},
            [
                Column("", by_job("fl_federatedjob_status_phase", "max", "phase") + " == 1"),
                Column("Round", by_job("fl_federatedjob_round")),
                Column("of", by_job("fl_federatedjob_rounds_target")),
                Column(
                    "Deadline in",
                    f"{by_job('fl_federatedjob_deadline_timestamp_seconds')} - time() and {PROGRESSING}",
                    "s",
                    [(None, BAD), (HOUR, SOON), (DAY, "text")],
                ),
                Column("Silos ready", by_job("fl_federatedjob_silos", where='state="ready"')),
                Column("not ready", by_job("fl_federatedjob_silos", where='state="not_ready"')),
                Column("Abandoned in a row", by_job("fl_federatedjob_rounds_abandoned_in_a_row")),
                Column("Loss", by_job("fl_federatedjob_model_loss", where='phase="evaluate"'), "short", decimals=4),
            ],
            to_job_of_row(),
            leads="fl_job",
        ),
    ]


def _rounds() -> Sequence[Panel]:
    return [
        graph(
            "Progress",
            "Committed rounds, of spec.rounds.total.",
            "percentunit",
            Query(f"{by_job('fl_job_round')} / {by_job('fl_job_rounds_target')}", A_JOB),
            link=to_job(),
        ),
        graph(
            "Time to the round's deadline",
            "While a round trains or is evaluated. Below zero: its server hangs.",
            "s",
            Query(f"({by_job('fl_round_deadline_timestamp_seconds')} > 0) - time()", A_JOB),
            floor=None,
            steps=[(None, BAD), (0, "transparent")],
            link=to_job(),
        ),
        graph(
            "Rounds closed",
            "Attempts, by outcome. An abandoned one leaves the model as it was.",
            "none",
            Query(per_interval("fl_rounds_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "What became of invitations",
            "Full and partial updates count; the others declined, were too late, or lost their session.",
            "none",
            Query(per_interval("fl_client_updates_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Updates refused",
            "By reason. Not a share of the above: a transfer may be refused and come again.",
            "none",
            Query(per_interval("fl_client_updates_rejected_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Members connected",
            "Of each job, to its server.",
            "none",
            Query(by_job("fl_silos", where='state="connected"'), A_JOB),
            link=to_job(),
        ),
    ]


def _model() -> Sequence[Panel]:
    return [
        graph(
            "Loss",
            "Released mean loss of evaluation.",
            "short",
            Query(by_job("fl_model_loss", where='phase="evaluate"'), A_JOB),
            floor=None,
            link=to_job(),
        ),
        graph(
            "Metrics",
            "Released means of evaluation, as spec.metrics declares them.",
            "short",
            Query(by_job("fl_model_metric", "max", "metric", where='phase="evaluate"'), f"{A_JOB} {{{{metric}}}}"),
            floor=None,
            link=to_job(),
        ),
        graph(
            "Metrics withheld",
            "Values that were not released, by reason: below a floor, repeated, not finite, not declared.",
            "none",
            Query(per_interval("fl_metrics_withheld_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
    ]


def _servers() -> Sequence[Panel]:
    return [
        graph(
            "Bytes moved",
            "Models down to members, updates up. Counted when a round is released, or once a minute between rounds.",
            "Bps",
            Query(
                f"sum by (direction) (rate(fl_transfer_bytes_total{{{SELECTED}}}[$__rate_interval]))", "{{direction}}"
            ),
        ),
        graph(
            "Checkpoint age",
            "Since the model was last written to disk. Every commit writes one.",
            "s",
            Query(f"time() - {by_job('fl_checkpoint_last_success_timestamp_seconds')}", A_JOB),
            link=to_job(),
        ),
        graph(
            "Updates held",
            "Bytes of single updates in memory, as of the last release or flush. Not zero while idle is a fault.",
            "bytes",
            Query(by_job("fl_server_update_buffer_bytes"), A_JOB),
            link=to_job(),
        ),
    ]


def _hub() -> Sequence[Panel]:
    return [
        graph(
            "Silos by state",
            "Of the hub. `kubectl get silos` names them.",
            "none",
            Query('sum by (state) (fl_silos{fl_job=""})', "{{state}}"),
            width=6,
        ),
        graph(
            "Certificates end in",
            "The first of each job's. Renewed at two thirds of their life.",
            "s",
            Query(f"{by_job(EARLIEST, 'min')} - time()", A_JOB),
            steps=[(None, BAD), (CERTIFICATE_HOURS * HOUR, "transparent")],
            width=6,
            link=to_job(),
        ),
        graph(
            "Passes of the operator",
            "How long a pass over an object takes: the median, and what one in a hundred exceeds.",
            "s",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le, kind) "
                    "(rate(fl_reconcile_duration_seconds_bucket[$__rate_interval])))",
                    f"{{{{kind}}}} {name}",
                )
                for share, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            width=6,
        ),
        graph(
            "Passes that failed",
            "By kind and reason. Each is tried again, with growing pauses.",
            "none",
            Query(
                "sum by (kind, reason) (increase(fl_reconcile_errors_total[$__rate_interval]))", "{{kind}} {{reason}}"
            ),
            stacked=True,
            width=6,
        ),
    ]
