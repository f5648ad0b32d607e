"""Prometheus metrics that cannot say more than they may (rules P1 and P3)."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from umbel.server.metric_names import LABELS, METRICS, SECONDS, Declared
from umbel.server.records import RoundRecord
from umbel.server.traffic import Traffic

KINDS: dict[str, Any] = {"gauge": Gauge, "counter": Counter, "histogram": Histogram}


class LabelError(ValueError):
    """A metric, label or value that is not declared."""


class ServerMetrics:
    """``metric_names``: those of the job, values of the label ``metric``."""

    def __init__(self, namespace: str, job: str, metric_names: Sequence[str]) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._constant = {"fl_namespace": namespace, "fl_job": job}
        self._metric_names = tuple(metric_names)
        self._made = {name: self._make(name, declared) for name, declared in METRICS.items()}
        build = Gauge("fl_build_info", "1.", ["version", "grpc_version", "python_version"], registry=self.registry)
        build.labels(version("umbel"), version("grpcio"), platform.python_version()).set(1)

    def _values(self, declared: Declared) -> list[tuple[str, ...]]:
        return [values or self._metric_names for values in declared.labels.values()]

    def _make(self, name: str, declared: Declared) -> Any:
        if not declared.labels.keys() <= LABELS:
            raise LabelError(f"{name}: labels {sorted(declared.labels)} are not all allowed")
        names = [*self._constant, *declared.labels]
        more = {"buckets": SECONDS} if declared.kind == "histogram" else {}
        made = KINDS[declared.kind](name, declared.help, names, registry=self.registry, **more)
        if not any(values == () for values in declared.labels.values()):
            for combination in itertools.product(*self._values(declared)):
                made.labels(*self._constant.values(), *combination)
        return made

    def child(self, name: str, **labels: str) -> Any:
        """The time series. Raises LabelError for what is not declared."""
        declared = METRICS.get(name)
        if declared is None:
            raise LabelError(f"{name} is not a metric of the server")
        if labels.keys() != declared.labels.keys():
            raise LabelError(f"{name} has the labels {sorted(declared.labels)}")
        for (label, value), allowed in zip(
            ((key, labels[key]) for key in declared.labels), self._values(declared), strict=True
        ):
            if value not in allowed:
                raise LabelError(f"{name}: {label} cannot be {value!r}")
        return self._made[name].labels(*self._constant.values(), *(labels[key] for key in declared.labels))

    def set(self, name: str, value: float, **labels: str) -> None:
        self.child(name, **labels).set(value)

    def add(self, name: str, value: float, **labels: str) -> None:
        self.child(name, **labels).inc(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    # ---- the steps in which buffered metrics move

    def publish_round(self, record: RoundRecord, residences: Sequence[float]) -> None:
        """Everything of a released round, in one step."""
        counts = record.counts
        if counts is not None:
            outcomes = {
                "full": counts.full,
                "partial": counts.partial,
                "declined": counts.declined,
                "timed_out": counts.timed_out,
                "lost": counts.lost,
            }
            self.set("fl_round_clients", counts.invited, stage="invited")
            for outcome, count in outcomes.items():
                self.set("fl_round_clients", count, stage=outcome)
                self.add("fl_client_updates_total", count, outcome=outcome)
            for reason, count in counts.rejected.items():
                self.add("fl_client_updates_rejected_total", count, reason=reason)
            self.add("fl_rounds_total", 1, outcome=record.outcome.lower())
        for reason, count in record.withheld.items():
            self.add("fl_metrics_withheld_total", count, reason=reason)
        self._publish_values(record)
        self.set("fl_round_start_timestamp_seconds", record.started)
        self.child("fl_round_duration_seconds").observe(sum(record.seconds.values()))
        for phase, seconds in record.seconds.items():
            self.child("fl_round_phase_duration_seconds", phase=phase).observe(seconds)
        for seconds in sorted(residences):
            self.child("fl_update_residency_seconds").observe(seconds)

    def _publish_values(self, record: RoundRecord) -> None:
        for phase, values in (("train", record.train), ("evaluate", record.evaluate)):
            for name, value in values.items():
                if name == "loss":
                    self.set("fl_model_loss", value, phase=phase)
                else:
                    self.set("fl_model_metric", value, phase=phase, metric=name)
        if record.examples is not None:
            self.set("fl_round_examples", record.examples)
        if record.update_norm is not None:
            self.set("fl_model_update_norm", record.update_norm)

    def publish_traffic(self, traffic: Traffic, buffered_bytes: int) -> None:
        self.add("fl_transfer_bytes_total", traffic.up, direction="up")
        self.add("fl_transfer_bytes_total", traffic.down, direction="down")
        for (method, code), count in traffic.requests.items():
            self.add("fl_grpc_requests_total", count, method=method, code=code)
        for outcome, count in traffic.joins.items():
            self.add("fl_join_requests_total", count, outcome=outcome)
        self.set("fl_server_update_buffer_bytes", buffered_bytes)
