"""``history.jsonl``: every released round, one JSON object a line, for reports and for whoever comes later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from umbel.server import files

TAIL_BYTES = 64 * 1024


class History:
    """Derived from the state file, which has the last rounds: repaired from it at start, touched only at its end."""

    def __init__(self, path: Path, recent: Sequence[Mapping[str, Any]] = ()) -> None:
        """Raises OSError."""
        self._path = path
        fresh = not path.exists()
        with path.open("ab"):
            pass
        if fresh:
            files.sync_directory(path.parent)
        lines = self._cut_torn_end(len(recent))
        known = {_key(json.loads(line)) for line in lines}
        self._waiting = [_line(record) for record in recent if _key(record) not in known]
        self._write()

    def append(self, record: Mapping[str, Any]) -> None:
        """Raises OSError; the record then goes with the next one, or at the next start."""
        self._waiting.append(_line(record))
        self._write()

    def _cut_torn_end(self, wanted: int) -> list[bytes]:
        """Find where the whole lines end (``_size``); return at least the last ``wanted`` of them, if there are."""
        size = self._path.stat().st_size
        span = TAIL_BYTES
        while True:
            start = max(0, size - span)
            with self._path.open("rb") as file:
                file.seek(start)
                lines = file.read(size - start).splitlines(keepends=True)
            if start:
                del lines[0]  # begins before the span
            end = size
            while lines and not _whole(lines[-1]):
                end -= len(lines.pop())
            if start == 0 or len(lines) > wanted:
                self._size = end
                return lines
            span *= 4

    def _write(self) -> None:
        """Everything that waits goes where the whole lines end: a line cut short by a full disk is written over."""
        with self._path.open("rb+") as file:
            file.truncate(self._size)
            file.seek(self._size)
            file.writelines(self._waiting)
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        self._waiting.clear()


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record["round"], record["attempt"], record["outcome"], record["started"]


def _whole(line: bytes) -> bool:
    try:
        _key(json.loads(line))
    except (ValueError, KeyError, TypeError):
        return False
    return line.endswith(b"\n")
