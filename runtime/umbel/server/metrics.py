"""Prometheus metrics that cannot say more than they may (rules P1, P3 and P4).

What is derived from members waits elsewhere (`Traffic`, `RoundRecord`) and moves here in one step, on the event loop
that also answers scrapes: no scrape sees half of a release.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from umbel.rounds.actions import RoundOutcomes
from umbel.server.metric_names import CONSTANT, LABELS, METRICS, RELEASED, SECONDS, Declared
from umbel.server.records import RoundRecord
from umbel.server.traffic import Traffic

KINDS: dict[str, Any] = {"gauge": Gauge, "counter": Counter, "histogram": Histogram}


class LabelError(ValueError):
    """A metric, label or value that is not declared, or a buffered metric outside a publication."""


class ServerMetrics:
    """``metric_names``: those of the job, values of the label ``metric``."""

    def __init__(self, namespace: str, job: str, metric_names: Sequence[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._constant = dict(zip(CONSTANT, (namespace, job), strict=True))
        self._metric_names = tuple(metric_names)
        self._made = {name: self._make(name, declared) for name, declared in METRICS.items()}
        labels = {label: value for label, (value,) in METRICS["fl_build_info"].labels.items()}
        self.set("fl_build_info", 1, **labels)

    def _make(self, name: str, declared: Declared) -> Any:
        if not declared.labels.keys() <= LABELS:
            raise LabelError(f"{name}: labels {sorted(declared.labels)} are not all allowed")
        names = [*self._constant, *declared.labels]
        more = {"buckets": SECONDS} if declared.kind == "histogram" else {}
        made = KINDS[declared.kind](name, declared.help, names, registry=self.registry, **more)
        for combination in [] if declared.when_known else itertools.product(*self._values(declared)):
            made.labels(*self._constant.values(), *combination)
        return made

    def _values(self, declared: Declared) -> list[tuple[str, ...]]:
        return [values or self._metric_names for values in declared.labels.values()]

    def _series(self, name: str, labels: Mapping[str, str]) -> list[str]:
        """All label values in their order. Raises LabelError for what is not declared."""
        declared = METRICS.get(name)
        if declared is None:
            raise LabelError(f"{name} is not a metric of the server")
        if labels.keys() != declared.labels.keys():
            raise LabelError(f"{name} has the labels {sorted(declared.labels)}")
        for label, allowed in zip(declared.labels, self._values(declared), strict=True):
            if labels[label] not in allowed:
                raise LabelError(f"{name}: {label} cannot be {labels[label]!r}")
        return [*self._constant.values(), *(labels[label] for label in declared.labels)]

    def _child(self, name: str, **labels: str) -> Any:
        return self._made[name].labels(*self._series(name, labels))

    def _remove(self, name: str, **labels: str) -> None:
        self._made[name].remove(*self._series(name, labels))

    # ---- what may move at any time

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """None: there is nothing true to say any more. Raises LabelError, also for a buffered metric."""
        child = self._unbuffered(name, labels)
        if value is None:
            self._remove(name, **labels)
        else:
            child.set(value)

    def add(self, name: str, value: float, **labels: str) -> None:
        """Raises LabelError, also for a buffered metric."""
        self._unbuffered(name, labels).inc(value)

    def _unbuffered(self, name: str, labels: Mapping[str, str]) -> Any:
        series = self._series(name, labels)
        if METRICS[name].buffered:
            raise LabelError(f"{name} moves only when a round is published")
        return self._made[name].labels(*series)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    # ---- the steps in which buffered metrics move

    def publish_round(self, record: RoundRecord, residences: Sequence[float]) -> None:
        """Everything of a released round, in one step."""
        if record.counts is not None:
            self._publish_counts(record.counts)
            self._child("fl_rounds_total", outcome=record.outcome.lower()).inc()
            self._child("fl_round_start_timestamp_seconds").set(record.started)
            self._child("fl_round_duration_seconds").observe(sum(record.seconds.values()))
        for reason, count in record.withheld.items():
            self._child("fl_metrics_withheld_total", reason=reason).inc(count)
        self._publish_values(record)
        for phase, seconds in record.seconds.items():
            if seconds:
                self._child("fl_round_phase_duration_seconds", phase=phase).observe(seconds)
        for seconds in sorted(residences):
            self._child("fl_update_residency_seconds").observe(seconds)

    def _publish_counts(self, counts: RoundOutcomes) -> None:
        outcomes = {
            "full": counts.full,
            "partial": counts.partial,
            "declined": counts.declined,
            "timed_out": counts.timed_out,
            "lost": counts.lost,
        }
        self._child("fl_round_clients", stage="invited").set(counts.invited)
        for outcome, count in outcomes.items():
            self._child("fl_round_clients", stage=outcome).set(count)
            self._child("fl_client_updates_total", outcome=outcome).inc(count)
        for reason, count in counts.rejected.items():
            self._child("fl_client_updates_rejected_total", reason=reason).inc(count)

    def _publish_values(self, record: RoundRecord) -> None:
        """A value that this round did not release is not left standing beside what it did."""
        committed = record.counts is not None and record.outcome == "Committed"
        self._put("fl_round_examples", record.examples)
        if committed:
            self._put("fl_model_update_norm", record.update_norm)
        happened = {"train": committed, "evaluate": record.seconds["evaluate"] > 0}
        for phase in RELEASED:
            if happened[phase]:
                values: dict[str, float] = getattr(record, phase)
                self._put("fl_model_loss", values.get("loss"), phase=phase)
                for name in (*self._metric_names, *(values.keys() - {"loss", *self._metric_names})):
                    self._put("fl_model_metric", values.get(name), phase=phase, metric=name)

    def _put(self, name: str, value: float | None, **labels: str) -> None:
        if value is None:
            self._remove(name, **labels)
        else:
            self._child(name, **labels).set(value)

    def publish_traffic(self, traffic: Traffic, buffered_bytes: int) -> None:
        """What passed the wire since the last time, in one step."""
        self._child("fl_transfer_bytes_total", direction="up").inc(traffic.up)
        self._child("fl_transfer_bytes_total", direction="down").inc(traffic.down)
        for (method, code), count in traffic.requests.items():
            self._child("fl_grpc_requests_total", method=method, code=code).inc(count)
        for reason, count in traffic.refused.items():
            self._child("fl_client_updates_rejected_total", reason=reason).inc(count)
        for outcome, count in traffic.joins.items():
            self._child("fl_join_requests_total", outcome=outcome).inc(count)
        self._child("fl_server_update_buffer_bytes").set(buffered_bytes)
