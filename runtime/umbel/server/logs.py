"""The server's log: JSON lines on standard error, with a closed schema.

Every event and its fields are listed here, so that nothing a silo sent, did or is called can get into a log by accident.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

EVENTS: dict[str, frozenset[str]] = {
    "starting": frozenset({"job", "namespace", "epoch", "version"}),
    "resumed": frozenset({"round", "skipped_checkpoints"}),
    "initial_model": frozenset({"tensors", "bytes"}),
    "ready": frozenset({"federation", "admin", "http"}),
    "round": frozenset({"round", "attempt", "outcome", "reason", "seconds"}),
    "checkpoint_failed": frozenset({"reason"}),
    "release_withheld": frozenset({"round"}),
    "output_written": frozenset(),
    "output_failed": frozenset({"reason"}),
    "edited": frozenset({"what"}),
    "finished": frozenset({"outcome", "reason", "message"}),
    "stopping": frozenset({"signal"}),
}


class Log:
    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def __call__(self, event: str, **fields: str | int | float) -> None:
        """Raises ValueError for an event or field that is not in `EVENTS`."""
        if event not in EVENTS or not EVENTS[event] >= fields.keys():
            raise ValueError(f"not in the log's schema: {event} {sorted(fields)}")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(json.dumps({"time": stamp, "event": event, **fields}), file=self._stream, flush=True)
