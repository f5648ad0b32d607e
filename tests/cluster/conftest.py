"""Tests on real Kubernetes nodes: a hub's cluster with two silos in it, and a second cluster with two more.

Started when the first test needs them, gone when the session ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
for tool in ("hack/cluster", "hack/slurm"):
    sys.path.append(str(ROOT / tool))

from umbel_cluster import cluster, images  # noqa: E402
from umbel_cluster.cluster import Cluster  # noqa: E402

from .federation import Federation  # noqa: E402


@pytest.fixture(scope="session")
def cluster_a() -> Iterator[Cluster]:
    with running("a") as started:
        yield started


@pytest.fixture(scope="session")
def cluster_b() -> Iterator[Cluster]:
    with running("b") as started:
        yield started


@contextmanager
def running(name: str) -> Iterator[Cluster]:
    """Nobody else's: another checkout's tests may run on this machine at the same time."""
    name = f"test-{os.getpid()}-{name}"
    try:
        yield cluster.up(name, mortal=True)
    finally:
        cluster.down(name)


@pytest.fixture(scope="session")
def federation(
    cluster_a: Cluster, cluster_b: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Federation]:
    image = images.example(ROOT / "examples/digits")
    for each in (cluster_a, cluster_b):
        each.import_image(image)
    made = Federation(cluster_a, cluster_b, tmp_path_factory.mktemp("federation"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def troubled(cluster_a: Cluster, cluster_b: Cluster) -> str:
    """The image of a client that can be told to misbehave."""
    folder = Path(__file__).parent / "troubled"
    archive = images.example(folder)
    for each in (cluster_a, cluster_b):
        each.import_image(archive)
    return images.reference(folder)
