"""The files by which a process proves who it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files of one identity, read again whenever they change on disk."""

    certificate: Path
    key: Path
    authorities: Path
