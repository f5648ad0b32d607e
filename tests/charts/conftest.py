"""Tests of the Helm charts: rendered, and on a real node installed with nothing but Helm."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "hack/cluster"), str(ROOT / "hack"), str(ROOT / "monitoring")]

from umbel_cluster import cluster, images  # noqa: E402
from umbel_cluster.cluster import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def node() -> Iterator[Cluster]:
    with cluster_with_images("charts") as started:
        yield started


@contextmanager
def cluster_with_images(name: str) -> Iterator[Cluster]:
    """A cluster with the images of the charts and of the digits in it, and nothing else."""
    name = f"test-{os.getpid()}-{name}"
    try:
        started = cluster.up(name, mortal=True)
        for image in (images.control(), images.example(ROOT / "examples/digits")):
            started.import_image(image)
        yield started
    finally:
        cluster.down(name)
