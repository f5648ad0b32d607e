"""Tests on real Slurm sites: one of a single node, one of two that have GPUs. Each worker has its own, for the whole
session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "hack/slurm"))

from process import harness  # noqa: E402
from umbel_slurm import site  # noqa: E402
from umbel_slurm.site import Site  # noqa: E402

from .desk import Desk  # noqa: E402


@pytest.fixture(scope="session")
def small() -> Iterator[Site]:
    with site.running("small") as started:
        yield started


@pytest.fixture(scope="session")
def large() -> Iterator[Site]:
    with site.running("large", nodes=2, gpus=2) as started:
        yield started


@pytest.fixture
def desk(small: Site, tmp_path: Path) -> Iterator[Desk]:
    with Desk.at(small, tmp_path) as made:
        yield made


@pytest.fixture
def large_desk(large: Site, tmp_path: Path) -> Iterator[Desk]:
    with Desk.at(large, tmp_path) as made:
        yield made


@pytest.fixture
def processes() -> Iterator[harness.Processes]:
    with harness.processes() as started:
        yield started
