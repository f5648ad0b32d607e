"""Draws the previews of docs/monitoring.md, from the course that the tests play: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import conftest as _paths  # noqa: F401  # isort: skip

from umbel_monitoring import preview
from umbel_monitoring.asking import Source

from .course import played

VARIABLES = {"namespace": "default", "job": "steered", "__rate_interval": "4s"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, played(Path(folder)) as scene:
        preview.write(Source(scene.prometheus.url, scene.start, scene.late, 1.0, VARIABLES), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
