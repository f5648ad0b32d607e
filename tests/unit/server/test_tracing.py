"""A trace tells of a round's steps, in their order, and of nobody who took part."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from umbel.server import tracing
from umbel.server.logs import Log
from umbel.server.records import RoundRecord
from umbel.server.tracing import NoTraces, RoundTraces, TracingMissing, traces

from .things import SILOS, record

JOB = {"umbel.namespace": "oncology", "umbel.job": "trial"}
NANO = 10**9


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def made(exporter: InMemorySpanExporter) -> Iterator[RoundTraces]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    found = RoundTraces(provider, JOB)
    yield found
    found.close()


def closed(**changes: object) -> RoundRecord:
    seconds = {"gather": 2.0, "train": 8.0, "close": 0.5, "checkpoint": 0.25, "evaluate": 1.0, "release": 0.125}
    return record(started=1_000.0, seconds=seconds, broadcast=0.5, **changes)


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_steps_follow_one_another_from_the_selection_to_the_release() -> None:
    found = [(name, start / NANO, end / NANO) for name, start, end in tracing.steps(closed())]
    assert found == [
        ("select", 998.0, 1_000.0),
        ("broadcast", 1_000.0, 1_000.5),
        ("collect", 1_000.5, 1_008.0),
        ("aggregate", 1_008.0, 1_008.5),
        ("checkpoint", 1_008.5, 1_008.75),
        ("evaluate", 1_008.75, 1_009.75),
        ("release", 1_009.75, 1_009.875),
    ]


def test_a_round_is_one_trace(made: RoundTraces, exporter: InMemorySpanExporter) -> None:
    made.released(closed())
    spans = by_name(exporter)
    root = spans["round"]
    assert root.parent is None
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}
    assert {span.parent.span_id for span in spans.values() if span.parent} == {root.context.span_id}
    assert (root.start_time, root.end_time) == (998 * NANO, int(1_009.875 * NANO))


def test_each_round_has_a_trace_of_its_own(made: RoundTraces, exporter: InMemorySpanExporter) -> None:
    for number in (1, 2, 3):
        made.released(closed(round=number))
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 3


def test_the_round_is_told_and_nothing_else(made: RoundTraces, exporter: InMemorySpanExporter) -> None:
    made.released(closed(round=7, attempt=2))
    for span in exporter.get_finished_spans():
        if span.name == "round":
            assert span.attributes == {**JOB, "umbel.round": 7, "umbel.attempt": 2, "umbel.outcome": "Committed"}
        else:
            assert not span.attributes
        assert not span.events
        assert not span.links
    assert not any(silo in span.to_json() for span in exporter.get_finished_spans() for silo in SILOS)


def test_an_abandoned_round_ends_with_its_reason(made: RoundTraces, exporter: InMemorySpanExporter) -> None:
    seconds = {**dict.fromkeys(("gather", "close", "checkpoint", "evaluate"), 0.0), "train": 5.0, "release": 0.0}
    abandoned = record(outcome="Abandoned", reason="QuorumLost", seconds=seconds)
    made.released(abandoned)
    spans = by_name(exporter)
    assert spans.keys() == {"round", "broadcast", "collect", "release"}
    assert spans["round"].attributes is not None
    assert spans["round"].attributes["umbel.reason"] == "QuorumLost"
    assert (spans["round"].status.status_code, spans["round"].status.description) == (StatusCode.ERROR, "QuorumLost")


def test_the_initial_model_has_no_training(made: RoundTraces, exporter: InMemorySpanExporter) -> None:
    seconds = {**dict.fromkeys(("gather", "train", "close", "checkpoint"), 0.0), "evaluate": 2.0, "release": 0.5}
    made.released(record(round=0, counts=None, seconds=seconds))
    assert by_name(exporter).keys() == {"round", "evaluate", "release"}


def test_without_an_endpoint_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert isinstance(traces("oncology", "trial", "1", fail), NoTraces)


def test_asked_for_and_not_installed_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingMissing, match=r"install umbel\[tracing\]"):
        traces("oncology", "trial", "1", fail)


def test_wished_for_by_the_hub_and_not_installed_is_told_and_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("UMBEL_TRACES", "IfInstalled")
    installed = traces("oncology", "trial", "1", fail)
    assert isinstance(installed, RoundTraces), "the wish is for traces"
    installed.close()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    text = io.StringIO()
    assert isinstance(traces("oncology", "trial", "1", Log(text)), NoTraces)
    assert json.loads(text.getvalue())["event"] == "traces_missing"


def fail(event: str) -> None:
    raise AssertionError(event)
