"""The hub operator's own numbers, and what it knows of each job: a server's metrics go with its pod, these stay.

Labels are those that a job's server may have too, with values known beforehand; no silo is named. What the operator
says of a job is called ``fl_federatedjob_…``, so that it is not counted twice with what the job's server says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SILO_STATES = ("Ready", "Unknown", "Invited", "Suspended")
PHASES = ("Progressing", "Suspended", "Complete", "Failed")
WAITING = ("Starting", "WaitingForSilos", "WaitingForEndpoint", "TooFewSilos")
FAILURES = (
    "TooManyAbandoned",
    "Diverged",
    "DeadlineExceeded",
    "Cancelled",
    "InvalidSpec",
    "ServerMisconfigured",
    "Other",
)
RELEASED = ("train", "evaluate")
ERRORS = ("ApplyFailed", "Unreachable", "AccessError", "Fault")
MAX_JOBS = 500  # with figures of their own


@dataclass(frozen=True)
class Declared:
    """``labels``: name -> every value it can have (``()``: any of the job's own)."""

    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


OF_A_JOB: Final[Mapping[str, Declared]] = {
    "fl_federatedjob_status_phase": Declared("1 for the phase that the job's status shows.", {"phase": PHASES}),
    "fl_federatedjob_waiting": Declared("1 for the reason why no round can open.", {"reason": WAITING}),
    "fl_federatedjob_failed": Declared("1 for the reason why the job has failed.", {"reason": FAILURES}),
    "fl_federatedjob_round": Declared("The last committed round in the job's status."),
    "fl_federatedjob_rounds_target": Declared("spec.rounds.total."),
    "fl_federatedjob_rounds_abandoned_in_a_row": Declared("Attempts abandoned since the last commit."),
    "fl_federatedjob_rounds_withheld_in_a_row": Declared(
        "Committed rounds, up to the last, that each withheld a declared metric; at most 20."
    ),
    "fl_federatedjob_start_timestamp_seconds": Declared("Unix time since when the job is active."),
    "fl_federatedjob_deadline_timestamp_seconds": Declared("Unix time when spec.activeDeadlineSeconds have passed."),
    "fl_federatedjob_completion_timestamp_seconds": Declared("Unix time of the job's end."),
    "fl_federatedjob_server_ready": Declared("1 when the operator reaches the job's server."),
    "fl_federatedjob_silos": Declared("Silos of the job.", {"state": ("ready", "not_ready")}),
    "fl_federatedjob_certificate_earliest_expiry_timestamp_seconds": Declared(
        "Unix time when the first of the certificates of the job's silos ends, while the job goes on."
    ),
    "fl_federatedjob_model_loss": Declared("Last released mean loss.", {"phase": RELEASED}),
    "fl_federatedjob_model_metric": Declared(
        "Last released mean of a declared metric.", {"phase": RELEASED, "metric": ()}
    ),
}

Figures = Mapping[tuple[str, tuple[str, ...]], float]
"""What is known of a job: (metric, values of its labels) -> number."""


class LabelError(ValueError):
    """A metric or a label's value that is not declared."""


def checked(figures: Figures) -> Figures:
    """Raises LabelError."""
    for name, values in figures:
        declared = OF_A_JOB.get(name)
        if declared is None:
            raise LabelError(f"{name} is not declared")
        if len(values) != len(declared.labels):
            raise LabelError(f"{name} has the labels {list(declared.labels)}")
        for value, allowed in zip(values, declared.labels.values(), strict=True):
            if allowed and value not in allowed:
                raise LabelError(f"{name} cannot be {value!r}")
    return figures


class _Jobs(Collector):
    """All jobs as they were shown last: of one that is gone, nothing stays."""

    def __init__(self) -> None:
        self.shown: Mapping[tuple[str, str], Figures] = {}

    def collect(self) -> Iterable[Metric]:
        families = {
            name: GaugeMetricFamily(name, declared.help, labels=["fl_namespace", "fl_job", *declared.labels])
            for name, declared in OF_A_JOB.items()
        }
        for job, figures in self.shown.items():
            for (name, values), number in figures.items():
                families[name].add_metric([*job, *values], number)
        return families.values()


class Metrics:
    """One registry; what has no value yet shows 0."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._of_jobs = _Jobs()
        self.registry.register(self._of_jobs)
        self._passes = Histogram(
            "fl_reconcile_duration_seconds", "Duration of a pass.", ["kind"], registry=self.registry
        )
        self._errors = Counter("fl_reconcile_errors", "Passes that failed.", ["kind", "reason"], registry=self.registry)
        self._silos = Gauge("fl_silos", "Silos of the hub, by state.", ["state"], registry=self.registry)
        self._jobs = Gauge("fl_jobs", "FederatedJobs of the hub, by phase.", ["phase"], registry=self.registry)
        self._unlisted = Gauge(
            "fl_jobs_unlisted",
            f"FederatedJobs beyond {MAX_JOBS}, without figures of their own.",
            registry=self.registry,
        )
        self._authority = Gauge(
            "fl_authority_expiry_timestamp_seconds",
            "Unix time when the certificate of the hub's signing authority ends.",
            registry=self.registry,
        )
        self._echo = Gauge(
            "fl_operator_watch_echo_timestamp_seconds",
            "When the operator last saw its own heartbeat come back on a watch.",
            registry=self.registry,
        )
        build = Gauge("fl_build_info", "Version of the operator.", ["version"], registry=self.registry)
        build.labels(version).set(1)
        self._passes.labels("FederatedJob")
        for reason in ERRORS:
            self._errors.labels("FederatedJob", reason)

    def reconciled(self, kind: str, seconds: float) -> None:
        self._passes.labels(kind).observe(seconds)

    def failed(self, kind: str, reason: str) -> None:
        self._errors.labels(kind, reason if reason in ERRORS else "Fault").inc()

    def silos(self, counts: Mapping[str, int]) -> None:
        for state in SILO_STATES:
            self._silos.labels(state).set(counts.get(state, 0))

    def jobs(self, counts: Mapping[str, int]) -> None:
        for phase in PHASES:
            self._jobs.labels(phase).set(counts.get(phase, 0))

    def show(self, jobs: Mapping[tuple[str, str], Figures], unlisted: int = 0) -> None:
        """``jobs``: by namespace and name, in place of those before. Raises LabelError."""
        self._of_jobs.shown = {job: checked(figures) for job, figures in jobs.items()}
        self._unlisted.set(unlisted)

    def authority_ends(self, at: float) -> None:
        self._authority.set(at)

    def echoed(self, now: float) -> None:
        self._echo.set(now)

    def text(self) -> bytes:
        return generate_latest(self.registry)
