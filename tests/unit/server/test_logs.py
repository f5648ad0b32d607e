"""The log says what is in its schema, and libraries say where, not what."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from umbel.server import logs
from umbel.server.logs import EVENTS, Log

VALUES: dict[type, Any] = {str: "text", int: 3, float: 0.5}
FORBIDDEN = {"silo", "client", "member", "host", "peer", "address", "ip", "token", "certificate", "payload"}


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_one_line_of_json(event: str) -> None:
    stream = io.StringIO()
    fields = {name: VALUES[kind] for name, kind in EVENTS[event].items()}
    Log(stream)(event, **fields)
    (line,) = lines(stream)
    assert {**fields, "event": event} == {name: value for name, value in line.items() if name != "time"}
    assert line["time"].endswith("Z")


def test_no_event_has_a_field_for_who_it_was() -> None:
    assert not FORBIDDEN & {name for fields in EVENTS.values() for name in fields}


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("joined", {}),
        ("round", {"silo": "hospital-a"}),
        ("output_written", {"reason": "x"}),
        ("resumed", {"round": "1"}),
        ("resumed", {"round": True}),
        ("round", {"reason": b"bytes"}),
        ("round", {"reason": ValueError("x")}),
        ("round", {"seconds": None}),
        ("finished", {"message": ["a"]}),
    ],
)
def test_what_is_not_in_the_schema_raises_and_writes_nothing(event: str, fields: dict[str, Any]) -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="not in the log's schema"):
        Log(stream)(event, **fields)
    assert stream.getvalue() == ""


def test_the_error_does_not_repeat_the_value() -> None:
    with pytest.raises(ValueError, match="schema") as raised:
        Log(io.StringIO())("round", reason=b"a canary")  # type: ignore[arg-type]
    assert "canary" not in str(raised.value)


def test_a_value_cannot_make_a_second_line() -> None:
    stream = io.StringIO()
    Log(stream)("finished", outcome="Failed", reason="X", message='one\n{"event": "two"}')
    assert len(stream.getvalue().splitlines()) == 1


def test_a_long_value_is_cut() -> None:
    stream = io.StringIO()
    Log(stream)("output_failed", reason="x" * 10_000)
    assert len(stream.getvalue()) < 1000


@pytest.fixture
def redirected() -> Iterator[io.StringIO]:
    handlers = logging.root.handlers[:]
    stream = io.StringIO()
    logs.redirect_libraries(Log(stream))
    yield stream
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers


def test_a_library_error_is_reduced_to_where_it_happened(redirected: io.StringIO) -> None:
    try:
        raise ConnectionResetError("10.1.2.3 sent a canary")
    except ConnectionResetError:
        logging.getLogger("aiohttp.server").exception("request of %s", "10.1.2.3")
    assert "10.1.2.3" not in redirected.getvalue()
    assert "canary" not in redirected.getvalue()
    (line,) = lines(redirected)
    assert (line["event"], line["level"], line["error"]) == ("library", "ERROR", "ConnectionResetError")
    assert "test_logs" in line["where"]


def test_what_is_less_than_a_warning_is_not_written(redirected: io.StringIO) -> None:
    logging.getLogger("asyncio").info("hello")
    assert redirected.getvalue() == ""


def test_a_python_warning_is_reduced_too(redirected: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("a canary", stacklevel=1)
    assert "canary" not in redirected.getvalue()
    assert [line["event"] for line in lines(redirected)] == ["library"]
