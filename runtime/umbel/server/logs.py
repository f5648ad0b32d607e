"""The server's log: JSON lines on standard error, with a closed schema.

Every event and its fields are listed here, so that nothing a silo sent, did or is called gets into a log by accident.
What libraries log is reduced to where it happened: their messages hold addresses and pieces of requests.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

MAX_CHARACTERS = 500  # of one value

EVENTS: dict[str, Mapping[str, type]] = {
    "starting": {"job": str, "namespace": str, "epoch": int, "version": str},
    "resumed": {"round": int, "skipped_checkpoints": int},
    "initial_model": {"tensors": int, "bytes": int},
    "traces_missing": {},  # OpenTelemetry is not in the image
    "ready": {"federation": str, "admin": str, "http": str},
    "round": {"round": int, "attempt": int, "outcome": str, "reason": str, "seconds": float},
    "checkpoint_failed": {"reason": str},
    "release_withheld": {"round": int},
    "output_written": {},
    "output_failed": {"reason": str},
    "edited": {"what": str},
    "finished": {"outcome": str, "reason": str, "message": str},
    "stopping": {"signal": str},
    "library": {"level": str, "where": str, "line": int, "error": str},
}


class Log:
    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def __call__(self, event: str, **fields: str | int | float) -> None:
        """Raises ValueError for an event or field that is not in `EVENTS`, or a value of another type."""
        schema = EVENTS.get(event)
        if schema is None or not schema.keys() >= fields.keys():
            raise ValueError(f"not in the log's schema: {event} {sorted(fields)}")
        for name, value in fields.items():
            if not _fits(value, schema[name]):
                raise ValueError(f"not in the log's schema: {event}.{name} is a {type(value).__name__}")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        short = {name: _short(value) for name, value in fields.items()}
        with contextlib.suppress(OSError):  # a full disk takes the log's words, not the job
            print(json.dumps({"time": stamp, "event": event, **short}), file=self._stream, flush=True)


class Redirect(logging.Handler):
    """Of a library's record: its level, the class of its exception and the line of code that raised it (or logged),
    nothing that was formatted."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, trace = record.exc_info or (None, None, None)
        where, line = f"{record.name}:{record.module}", record.lineno
        for frame, number in traceback.walk_tb(trace):
            where, line = str(frame.f_globals.get("__name__", "")), number
        self._log("library", level=record.levelname, where=where, line=line, error=kind.__name__ if kind else "")


def redirect_libraries(log: Log | None = None) -> None:
    """Send every library's warnings and errors through the closed schema, for the rest of the process's life."""
    logging.root.handlers[:] = [Redirect(log or Log())]
    logging.captureWarnings(True)


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _short(value: str | int | float) -> str | int | float:
    return value[:MAX_CHARACTERS] if isinstance(value, str) else value
