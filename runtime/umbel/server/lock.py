"""One server a state directory: a lock against a second one now, an epoch against one that comes back later."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from umbel.server import files


class StateLocked(Exception):
    """Another server holds the directory."""


class StateLock:
    """Held until `release` or the end of the process, however it ends. ``epoch`` grows with every start, on disk before
    the first use."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise StateLocked(f"{directory} is in use by another server; stop that one first") from None
        self.epoch = self._advance(directory / "epoch")

    def _advance(self, path: Path) -> int:
        epoch = int(path.read_text()) + 1 if path.exists() else 1
        files.replace(path, str(epoch).encode())
        return epoch

    def release(self) -> None:
        os.close(self._file)
