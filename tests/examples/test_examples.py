"""Every example runs to Complete, and shows what it is there to show."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from umbel.job import load, resolve

from .running import EXAMPLES, complete

pytestmark = pytest.mark.process


def test_digits_learns_to_read(tmp_path: Path) -> None:
    run = complete(EXAMPLES / "digits/job.yaml", tmp_path / "run")
    assert len(run.silos) == 10
    assert run.accuracy[0] < 0.7
    assert run.accuracy[-1] > 0.9


def test_penguins_are_told_apart_though_no_island_has_them_all(tmp_path: Path) -> None:
    run = complete(EXAMPLES / "penguins/job.yaml", tmp_path / "run")
    assert list(run.silos) == ["biscoe", "dream", "torgersen"]
    assert run.accuracy[-1] > 0.9
    assert [record["full"] for record in run.committed] == [3] * 20


@pytest.mark.frameworks
def test_heads_stay_at_home(tmp_path: Path) -> None:
    run = complete(EXAMPLES / "private-head/job.yaml", tmp_path / "run")
    shared, silos = run.model, run.silos
    assert len(silos) == 4
    assert shared
    assert not [name for name in shared if name.startswith("head.")]
    for silo in silos.values():
        assert {name for name in silo if name not in shared} == {"head.weight", "head.bias"}
        assert all(np.array_equal(silo[name], shared[name]) for name in shared)
    for one, other in combinations(silos.values(), 2):
        assert not np.array_equal(one["head.weight"], other["head.weight"])
    assert run.accuracy[-1] > 0.9  # which one head for all could not reach: every silo numbers the digits differently


def test_rounds_with_a_straggler_close_on_time_and_count_its_work(tmp_path: Path) -> None:
    job = resolve(load(EXAMPLES / "stragglers/job.yaml")).spec
    run = complete(EXAMPLES / "stragglers/job.yaml", tmp_path / "run")
    assert [record["round"] for record in run.history] == list(range(1, job.rounds.total + 1)), "a round was repeated"
    # All of the slow silo's work would take longer than a round: it can only be partial.
    assert min(record["full"] for record in run.history) >= job.rounds.quorum - 1
    kept = [record for record in run.history if record["partial"] >= 1 and record["timedOut"] == 0]
    assert len(kept) >= job.rounds.total - 1, "closed before the deadline, with everybody's work in it"
    assert all(record["full"] + record["partial"] == len(job.silos) for record in kept)
    assert run.accuracy[-1] > 0.85


@pytest.mark.frameworks
def test_mnist_reaches_ninety_per_cent_in_fifty_rounds(tmp_path: Path) -> None:
    run = complete(EXAMPLES / "mnist-torch/job.yaml", tmp_path / "run")
    assert len(run.silos) == 10
    assert len(run.committed) == 50
    assert run.accuracy[-1] >= 0.9
