"""For each alert: series in which it fires, and series like them in which it must not.

Series as `promtool test rules` writes them, one value a minute: `5+0x9` is 5 ten times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE = 60
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class Scenario:
    """``says``: its description, with ``labels``; empty when the alert must be silent ``at`` that time."""

    alert: str
    what: str
    series: Mapping[str, str]
    at: str
    says: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.alert}: {self.what}"


TRIAL = {"fl_namespace": "oncology", "fl_job": "trial"}


def of(metric: str, **labels: str) -> str:
    pairs = ", ".join(f'{name}="{value}"' for name, value in {**TRIAL, **labels}.items())
    return f"{metric}{{{pairs}}}"


def fires(alert: str, what: str, series: Mapping[str, str], at: str, says: str, **labels: str) -> Scenario:
    return Scenario(alert, what, series, at, says, {**TRIAL, **labels})


def silent(alert: str, what: str, series: Mapping[str, str], at: str) -> Scenario:
    return Scenario(alert, what, series, at)


DEADLINE = of("fl_round_deadline_timestamp_seconds")
ABANDONED = of("fl_federatedjob_rounds_abandoned_in_a_row")
WITHHELD = of("fl_federatedjob_rounds_withheld_in_a_row")
COMPLETION = of("fl_federatedjob_completion_timestamp_seconds")
CHECKPOINT = of("fl_checkpoint_last_success_timestamp_seconds")
TIMEOUT = of("fl_job_round_timeout_seconds")
BUFFER = of("fl_server_update_buffer_bytes")
FULL = of("fl_client_updates_total", outcome="full")
PARTIAL = of("fl_client_updates_total", outcome="partial")
LOST = of("fl_client_updates_total", outcome="lost")
REFUSED = of("fl_client_updates_rejected_total", reason="NOT_FINITE")
SILO_CERTIFICATE = of("fl_silo_certificate_earliest_expiry_timestamp_seconds")
SERVER_CERTIFICATE = of("fl_server_certificate_expiry_timestamp_seconds")
HUB_CERTIFICATE = of("fl_federatedjob_certificate_earliest_expiry_timestamp_seconds", instance="operator")
END = (SILO_CERTIFICATE, SERVER_CERTIFICATE, HUB_CERTIFICATE)
READY = of("fl_federatedjob_server_ready")
ECHO = "fl_operator_watch_echo_timestamp_seconds"


def server_in(phase: str) -> dict[str, str]:
    return {of("fl_job_status_phase", phase=phase): "1+0x200"}


def job_in(phase: str) -> dict[str, str]:
    return {of("fl_federatedjob_status_phase", phase=phase): "1+0x200"}


ROUNDS = [
    fires(
        "UmbelRoundPastDeadline",
        "a server hangs",
        {DEADLINE: f"{10 * MINUTE}+0x30"},
        "14m",
        "The open round of oncology/trial should have closed 4m 0s ago. A round always closes at its deadline: its "
        "server hangs.",
    ),
    silent("UmbelRoundPastDeadline", "within the grace", {DEADLINE: f"{10 * MINUTE}+0x30"}, "11m"),
    silent("UmbelRoundPastDeadline", "no round is open", {DEADLINE: "0+0x60"}, "30m"),
    silent("UmbelRoundPastDeadline", "one round after the other", {DEADLINE: "300+60x60"}, "45m"),
    fires(
        "UmbelRoundsAbandoned",
        "three in a row",
        {ABANDONED: "0 1 2 3 3 3"},
        "3m",
        "3 rounds of oncology/trial in a row were abandoned; the model does not move.",
    ),
    fires(
        "UmbelRoundsAbandoned",
        "and the job failed of it",
        {ABANDONED: "0 1 2 3+0x60", COMPLETION: f"_ _ _ {3 * MINUTE}+0x60"},
        "20m",
        "3 rounds of oncology/trial in a row were abandoned; the model does not move.",
    ),
    silent("UmbelRoundsAbandoned", "two in a row", {ABANDONED: "0 1 2 2 0 1 2 2"}, "7m"),
    silent(
        "UmbelRoundsAbandoned", "long after the end", {ABANDONED: "3+0x200", COMPLETION: f"{3 * MINUTE}+0x200"}, "90m"
    ),
    fires(
        "UmbelUpdatesRejected",
        "one in three",
        {REFUSED: "0+1x90", FULL: "0+1x90", PARTIAL: "0+1x90"},
        "80m",
        "33.33% of the updates that reached oncology/trial in the last 1h were refused. "
        "fl_client_updates_rejected_total has the reasons.",
    ),
    silent("UmbelUpdatesRejected", "one in ten", {REFUSED: "0+1x90", FULL: "0+9x90", PARTIAL: "0+0x90"}, "80m"),
    silent("UmbelUpdatesRejected", "nothing arrives", {REFUSED: "0+0x90", FULL: "0+0x90", LOST: "0+4x90"}, "80m"),
    fires(
        "UmbelWaitingForSilos",
        "too few are connected",
        {of("fl_federatedjob_waiting", reason="WaitingForSilos"): "1+0x30"},
        "16m",
        "oncology/trial has waited for its silos for long: WaitingForSilos.",
        reason="WaitingForSilos",
    ),
    silent(
        "UmbelWaitingForSilos",
        "not for long yet",
        {of("fl_federatedjob_waiting", reason="WaitingForSilos"): "1+0x30"},
        "14m",
    ),
    silent(
        "UmbelWaitingForSilos",
        "with a round in between",
        {of("fl_federatedjob_waiting", reason="WaitingForSilos"): "1+0x12 0 1+0x12"},
        "25m",
    ),
    silent(
        "UmbelWaitingForSilos",
        "a server that starts",
        {of("fl_federatedjob_waiting", reason="Starting"): "1+0x30"},
        "25m",
    ),
    fires(
        "UmbelCheckpointOld",
        "rounds close and nothing is written",
        {CHECKPOINT: "0+0x60", TIMEOUT: "720+0x60", **server_in("Training")},
        "26m",
        "The last checkpoint of oncology/trial is 26m 0s old, longer than 2 rounds may take. A server that restarts "
        "now falls back to it.",
    ),
    silent(
        "UmbelCheckpointOld",
        "two long rounds",
        {CHECKPOINT: "0+0x60", TIMEOUT: "720+0x60", **server_in("Training")},
        "23m",
    ),
    silent(
        "UmbelCheckpointOld",
        "no round can open",
        {CHECKPOINT: "0+0x60", TIMEOUT: "720+0x60", **server_in("Gathering")},
        "50m",
    ),
    fires(
        "UmbelJobFailed",
        "a model that diverged",
        {of("fl_federatedjob_failed", reason="Diverged"): "0 1+0x90", COMPLETION: f"_ {MINUTE}+0x90"},
        "2m",
        "oncology/trial has ended as Failed: Diverged.",
        reason="Diverged",
    ),
    silent(
        "UmbelJobFailed",
        "long ago",
        {of("fl_federatedjob_failed", reason="Diverged"): "1+0x90", COMPLETION: "0+0x90"},
        "80m",
    ),
    silent("UmbelJobFailed", "a job that goes on", {of("fl_federatedjob_failed", reason="Diverged"): "0+0x90"}, "80m"),
    fires(
        "UmbelServerNotReady",
        "a pod that does not start",
        {READY: "0+0x30", **job_in("Progressing")},
        "11m",
        "The operator does not reach the server of oncology/trial; the job stands still.",
    ),
    silent("UmbelServerNotReady", "a restart", {READY: "1 0 0 0 1+0x30", **job_in("Progressing")}, "20m"),
    silent("UmbelServerNotReady", "a job that has ended", {READY: "0+0x30", **job_in("Complete")}, "20m"),
]
PRIVACY = [
    fires(
        "UmbelUpdatesHeldWhileIdle",
        "an update stays in memory",
        {BUFFER: "4096+0x30", **server_in("Gathering")},
        "6m",
        "4kiB of single updates are in the memory of oncology/trial's server while no round is open. They should have "
        "been overwritten when the round closed.",
    ),
    silent("UmbelUpdatesHeldWhileIdle", "in a round", {BUFFER: "4096+0x30", **server_in("Training")}, "20m"),
    silent("UmbelUpdatesHeldWhileIdle", "nothing is held", {BUFFER: "0+0x30", **server_in("Complete")}, "20m"),
    silent(
        "UmbelUpdatesHeldWhileIdle",
        "until the next flush",
        {BUFFER: "4096 4096 0+0x30", **server_in("Gathering")},
        "9m",
    ),
    fires(
        "UmbelMetricsWithheld",
        "ten rounds",
        {WITHHELD: "0+1x10"},
        "10m",
        "Each of the last 10 rounds of oncology/trial withheld a metric. fl_metrics_withheld_total has the reasons.",
    ),
    silent("UmbelMetricsWithheld", "nine rounds", {WITHHELD: "0+1x10"}, "9m"),
    silent("UmbelMetricsWithheld", "long after the end", {WITHHELD: "12+0x200", COMPLETION: "0+0x200"}, "90m"),
]
CERTIFICATES = [
    fires(
        "UmbelCertificateExpires",
        f"a {who}'s was not renewed",
        {series: f"{3 * HOUR}+0x30"},
        "6m",
        "The first certificate of oncology/trial ends in 2h 54m 0s. It should have been renewed at two thirds of its "
        "life.",
    )
    for who, series in (("silo", SILO_CERTIFICATE), ("server", SERVER_CERTIFICATE), ("client", HUB_CERTIFICATE))
]
CERTIFICATES += [
    fires(
        "UmbelCertificateExpires",
        f"the {who}'s alone was not renewed",
        {**dict.fromkeys(END, f"{24 * HOUR}+0x30"), series: f"{3 * HOUR}+0x30"},
        "6m",
        "The first certificate of oncology/trial ends in 2h 54m 0s. It should have been renewed at two thirds of its "
        "life.",
    )
    for who, series in (("silo", SILO_CERTIFICATE), ("server", SERVER_CERTIFICATE), ("client", HUB_CERTIFICATE))
]
CERTIFICATES += [
    silent(
        "UmbelCertificateExpires",
        "renewed at two thirds",
        {SILO_CERTIFICATE: f"{8 * HOUR}+0x60 {24 * HOUR}+0x300", HUB_CERTIFICATE: f"{24 * HOUR}+0x300"},
        "5h",
    ),
    Scenario(
        "UmbelAuthorityExpires",
        "in 29 days",
        {"fl_authority_expiry_timestamp_seconds": f"{29 * 24 * HOUR}+0x90"},
        "61m",
        "The authority that signs for all silos and servers ends in 28d 22h 59m 0s.",
    ),
    silent(
        "UmbelAuthorityExpires",
        "in a year",
        {"fl_authority_expiry_timestamp_seconds": f"{365 * 24 * HOUR}+0x90"},
        "61m",
    ),
]
ERRORS = 'fl_reconcile_errors_total{kind="FederatedJob", reason="ApplyFailed"}'
HUB = [
    Scenario(
        "UmbelReconcileErrors",
        "every pass",
        {ERRORS: "0+1x60"},
        "25m",
        "15 passes failed in 15m: ApplyFailed.",
        {"kind": "FederatedJob", "reason": "ApplyFailed"},
    ),
    silent("UmbelReconcileErrors", "a few, and then well", {ERRORS: "0+1x4 4+0x60"}, "10m"),
    Scenario(
        "UmbelSiloUnknown",
        "two agents are silent",
        {'fl_silos{state="Unknown"}': "2+0x30"},
        "6m",
        "The agents of 2 silos do not report. `kubectl get silos` names them.",
    ),
    silent(
        "UmbelSiloUnknown",
        "a job's own count is another",
        {'fl_silos{state="Unknown"}': "0+0x30", of("fl_silos", state="absent"): "4+0x30"},
        "20m",
    ),
    silent("UmbelSiloUnknown", "an agent that restarts", {'fl_silos{state="Unknown"}': "0 1 1 0+0x30"}, "9m"),
    Scenario(
        "UmbelOperatorDeaf",
        "no echo",
        {ECHO: f"{MINUTE}+0x30"},
        "6m",
        "The operator last saw its own heartbeat on a watch 5m 0s ago.",
    ),
    silent("UmbelOperatorDeaf", "an echo a minute", {ECHO: "0+60x30"}, "20m"),
    Scenario(
        "UmbelOperatorAbsent",
        "nothing to scrape",
        {},
        "11m",
        "No metrics of an operator are scraped: jobs neither start, nor change, nor end.",
    ),
    silent("UmbelOperatorAbsent", "an operator", {ECHO: "0+60x30"}, "20m"),
]
SCENARIOS = [*ROUNDS, *PRIVACY, *CERTIFICATES, *HUB]
