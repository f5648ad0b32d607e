"""``history.jsonl``: every released round, one JSON object a line, for reports and for whoever comes after the server."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from umbel.server import files


class History:
    """Derived from the state file, which has the last rounds: repaired from it at start."""

    def __init__(self, path: Path, recent: Sequence[Mapping[str, Any]] = ()) -> None:
        self._path = path
        lines = self._whole_lines()
        known = {_key(json.loads(line)) for line in lines[-4 * len(recent) - 1 :]} if recent else set()
        missing = [record for record in recent if _key(record) not in known]
        with files.synced(path.with_name(f".{path.name}.tmp")) as file:
            file.writelines(lines)
            file.writelines(_line(record) for record in missing)
        path.with_name(f".{path.name}.tmp").rename(path)
        files.sync_directory(path.parent)

    def _whole_lines(self) -> list[bytes]:
        """Without what a crash left of a last line."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().splitlines(keepends=True)
        return lines if not lines or _complete(lines[-1]) else lines[:-1]

    def append(self, record: Mapping[str, Any]) -> None:
        """Raises OSError; a line cut short is repaired at the next start."""
        with self._path.open("ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record["round"], record["attempt"], record["outcome"], record["started"]


def _complete(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"\n")
