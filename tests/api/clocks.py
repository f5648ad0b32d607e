"""Another clock for one process, by Debian's libfaketime: the whole of it, TLS too, has that time."""

from __future__ import annotations

import os
from pathlib import Path

LIBRARIES = Path("/usr/lib")


class Clock:
    """``file``: says how far off it is, to whoever has its `environment`; read at every look at the clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.off_by(0)

    def off_by(self, hours: float) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{hours * 3600:+.0f}\n")
        fresh.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """Pauses and timeouts go by the true clock."""
        (library,) = LIBRARIES.glob("*/faketime/libfaketimeMT.so.1")
        said = {
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return {**os.environ, "LD_PRELOAD": str(library), **said}
