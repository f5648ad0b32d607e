"""Traces of a real run, at a real receiver of OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from process.harness import Run, manifest, processes
from umbel_cluster.processes import free_port

pytestmark = pytest.mark.process

SILOS = ("oslo-hospital", "bern-hospital", "rome-hospital")
STEPS = {"round", "select", "broadcast", "collect", "aggregate", "checkpoint", "evaluate", "release"}
RESOURCE = {f"service.{name}" for name in ("name", "version", "instance.id")}  # the last is random
SDK = {f"telemetry.sdk.{name}" for name in ("language", "name", "version")}


class Receiver:
    def __init__(self, server: ThreadingHTTPServer, bodies: list[bytes]) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.bodies = bodies

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Receiver(server, bodies)
        server.shutdown()
        thread.join()


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """A run of two rounds, to its end, with traces for that address."""

    def run(endpoint: str) -> Run:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with processes() as started:
            found = Run(started, tmp_path).start(manifest(SILOS, rounds={"total": 2, "timeoutSeconds": 120}))
            found.complete()
        return found

    return run


def test_each_round_of_a_run_is_a_trace_that_names_nobody(receiver: Receiver, ran: Callable[[str], Run]) -> None:
    run = ran(receiver.url)
    resources = [resource for request in receiver.requests for resource in request.resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    roots = [span for span in spans if span.name == "round"]
    told = [{pair.key: pair.value for pair in root.attributes} for root in roots]
    assert [(t["umbel.round"].int_value, t["umbel.job"].string_value) for t in told] == [(1, "steered"), (2, "steered")]
    for root in roots:
        assert {span.name for span in spans if span.trace_id == root.trace_id} == STEPS
        started, seconds = root.start_time_unix_nano / 1e9, (root.end_time_unix_nano - root.start_time_unix_nano) / 1e9
        (record,) = (r for r in run.history() if r["round"] == told[roots.index(root)]["umbel.round"].int_value)
        assert started == pytest.approx(record["started"] - record["seconds"]["gather"], abs=0.01)
        assert seconds == pytest.approx(sum(record["seconds"].values()), abs=0.01)
    assert {pair.key for resource in resources for pair in resource.resource.attributes} == RESOURCE | SDK
    whole = b"".join(receiver.bodies)
    assert not [silo for silo in SILOS if silo.encode() in whole]


def test_a_collector_that_is_away_costs_the_job_nothing(ran: Callable[[str], Run]) -> None:
    run = ran(f"http://127.0.0.1:{free_port()}")
    assert run.committed() == [1, 2]
