"""Every test of this folder starts real processes, and leaves none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import harness
from .harness import Processes, Run


@pytest.fixture
def processes() -> Iterator[Processes]:
    with harness.processes() as started:
        yield started


@pytest.fixture
def run(processes: Processes, tmp_path: Path) -> Run:
    """An `umbel run` that is still to be started."""
    return Run(processes, tmp_path)
