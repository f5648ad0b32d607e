"""The hub operator's own numbers: aggregates, with labels whose values are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

SILO_STATES = ("Ready", "Unknown", "Suspended")
PHASES = ("Progressing", "Suspended", "Complete", "Failed")


class Metrics:
    """One registry; what has no value yet shows 0."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._passes = Histogram(
            "fl_reconcile_duration_seconds", "Duration of a pass.", ["kind"], registry=self.registry
        )
        self._errors = Counter("fl_reconcile_errors", "Passes that failed.", ["kind", "reason"], registry=self.registry)
        self._silos = Gauge("fl_silos", "Silos of the hub, by state.", ["state"], registry=self.registry)
        self._jobs = Gauge("fl_jobs", "FederatedJobs of the hub, by phase.", ["phase"], registry=self.registry)
        self._echo = Gauge(
            "fl_operator_watch_echo_timestamp_seconds",
            "When the operator last saw its own heartbeat come back on a watch.",
            registry=self.registry,
        )
        build = Gauge("fl_build_info", "Version of the operator.", ["version"], registry=self.registry)
        build.labels(version).set(1)
        self._passes.labels("FederatedJob")
        for reason in ("ApplyFailed", "Unreachable", "AccessError", "Fault"):
            self._errors.labels("FederatedJob", reason)

    def reconciled(self, kind: str, seconds: float) -> None:
        self._passes.labels(kind).observe(seconds)

    def failed(self, kind: str, reason: str) -> None:
        known = reason if reason in ("ApplyFailed", "Unreachable", "AccessError") else "Fault"
        self._errors.labels(kind, known).inc()

    def silos(self, counts: Mapping[str, int]) -> None:
        for state in SILO_STATES:
            self._silos.labels(state).set(counts.get(state, 0))

    def jobs(self, counts: Mapping[str, int]) -> None:
        for phase in PHASES:
            self._jobs.labels(phase).set(counts.get(phase, 0))

    def echoed(self, now: float) -> None:
        self._echo.set(now)

    def text(self) -> bytes:
        return generate_latest(self.registry)
