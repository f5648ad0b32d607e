"""Agents as processes, without a cluster of their own, against the API of a real hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("hack/cluster", "hack/slurm"):
    sys.path.append(str(Path(__file__).parents[2] / folder))

from umbel_cluster import api as _api  # noqa: E402
from umbel_slurm import site as _site  # noqa: E402


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_api.Api]:
    with _api.serving(tmp_path_factory.mktemp("api")) as serving:
        yield serving


@pytest.fixture(scope="session")
def cluster() -> Iterator[_site.Site]:
    """A Slurm site of two nodes. Its queue soon forgets what has ended; its accounting does not."""
    with _site.running("agent", nodes=2, accounting=True, forget_seconds=2) as started:
        yield started
