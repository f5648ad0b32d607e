"""One OpenTelemetry trace a round, made when the round is released, of what its record says.

Nothing is told before the release, and nothing of a client: no span, no attribute and no event is about one, and no
context is sent to them. Off unless OTEL_EXPORTER_OTLP_ENDPOINT says where traces go; OpenTelemetry's other variables
hold too. Where UMBEL_TRACES is IfInstalled, as a hub that asks all its jobs for traces sets it, a job whose image
cannot make any runs without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from umbel.server.records import RoundRecord

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
WISH, IF_INSTALLED = "UMBEL_TRACES", "IfInstalled"
SERVICE = "umbel-server"
NANOSECONDS = 10**9
STEPS = {  # of a record's phases
    "gather": "select",
    "close": "aggregate",
    "checkpoint": "checkpoint",
    "evaluate": "evaluate",
    "release": "release",
}


class TracingMissing(ValueError):
    """Traces are asked for, and what makes them is not installed."""


class Traces(Protocol):
    def released(self, record: RoundRecord) -> None: ...
    def close(self) -> None: ...


class NoTraces:
    def released(self, record: RoundRecord) -> None:
        return None

    def close(self) -> None:
        return None


class RoundTraces:
    """``provider``: OpenTelemetry's, which exports in a thread of its own. ``job``: attributes of every trace."""

    def __init__(self, provider: Any, job: Mapping[str, str]) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("umbel.server")
        self._job = job

    def released(self, record: RoundRecord) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        spans = list(steps(record))
        attributes = {**self._job, "umbel.round": record.round, "umbel.attempt": record.attempt}
        told = {"umbel.outcome": record.outcome, **({"umbel.reason": record.reason} if record.reason else {})}
        began, ended = spans[0][1], spans[-1][2]
        root = self._tracer.start_span("round", Context(), attributes={**attributes, **told}, start_time=began)
        if record.outcome != "Committed":
            root.set_status(Status(StatusCode.ERROR, record.reason))
        for name, start, end in spans:
            span = self._tracer.start_span(name, set_span_in_context(root, Context()), start_time=start)
            span.end(end)
        root.end(ended)

    def close(self) -> None:
        """Sends what is left, for a few seconds at most."""
        self._provider.shutdown()


def steps(record: RoundRecord) -> Iterator[tuple[str, int, int]]:
    """(name, start, end) in Unix nanoseconds, laid end to end; a step that did not happen is left out."""
    at = record.started - record.seconds["gather"]
    for name, seconds in _durations(record):
        yield name, int(at * NANOSECONDS), int((at + seconds) * NANOSECONDS)
        at += seconds


def _durations(record: RoundRecord) -> Iterator[tuple[str, float]]:
    for phase, seconds in record.seconds.items():
        if phase == "train" and record.counts is not None:
            yield "broadcast", min(record.broadcast, seconds)
            yield "collect", max(0.0, seconds - record.broadcast)
        elif phase != "train" and (seconds or phase == "release"):
            yield STEPS[phase], seconds


def traces(namespace: str, job: str, version: str, told: Callable[[str], None]) -> Traces:
    """As the environment says; ``told``: the event of traces that are done without. Raises TracingMissing."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return NoTraces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        if os.environ.get(WISH) == IF_INSTALLED:
            told("traces_missing")
            return NoTraces()
        raise TracingMissing(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed; "
            "install umbel[tracing], or unset the variable"
        ) from None
    resource = Resource.create({"service.name": SERVICE, "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RoundTraces(provider, {"umbel.namespace": namespace, "umbel.job": job})
