"""Writing files so that a crash leaves the old content or the new, never something between."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on disk, not only in the page cache, when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name, fsync, rename, fsync the folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with synced(temporary) as file:
            file.write(content)
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
