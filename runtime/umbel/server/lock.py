"""One server a state directory: a lock against a second one now, an epoch against one that comes back later."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from umbel.server import files


class StateLocked(Exception):
    """The directory cannot be had: another server holds it, or its epoch cannot be told. The text says what to do."""


class StateLock:
    """Held until `release` or the end of the process, however it ends. ``epoch`` grows with every start, on disk before
    the first use."""

    def __init__(self, directory: Path) -> None:
        """Raises StateLocked, or OSError for a directory that cannot be written."""
        directory.mkdir(parents=True, exist_ok=True)
        files.sync_directory(directory.parent)
        self._file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(directory)
            self.epoch = _advance(directory / "epoch")
        except BaseException:
            self.release()
            raise

    def _take(self, directory: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateLocked(f"{directory} is in use by another server; stop that one first") from None

    def release(self) -> None:
        os.close(self._file)


def _advance(path: Path) -> int:
    """An epoch that cannot be read is not begun anew: members would take the server for an older one."""
    text = path.read_text(errors="replace").strip() if path.exists() else "0"
    if not (text.isascii() and text.isdigit()):
        raise StateLocked(f"{path} is damaged; write into it a number above the server's last epoch")
    epoch = int(text) + 1
    files.replace(path, str(epoch).encode())
    return epoch
