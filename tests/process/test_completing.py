"""`umbel run` to its end, and what it leaves there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from .harness import Processes, Run, manifest

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3", "silo-4")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_small_job_runs_to_complete(run: Run) -> None:
    run.start(manifest(SILOS)).complete()
    model = load_file(run.path / "model.safetensors")
    assert {name: array.shape for name, array in model.items()} == {
        "weight": (64,),
        "norm.mean": (3,),
        "norm.count": (),
    }
    assert np.isfinite(model["weight"]).all()
    assert model["norm.mean"] == pytest.approx(np.full(3, 3.0))  # one a round
    assert model["norm.count"] == 6
    for silo in SILOS:
        mine = load_file(run.path / "silos" / silo / "state" / "model.safetensors")
        assert mine.keys() == model.keys()
        assert all(np.array_equal(mine[name], model[name]) for name in model)
    assert run.committed() == [1, 2, 3]
    assert run.history()[2]["full"] == 4
    report = (run.path / "report.html").read_text()
    assert "Complete" in report
    assert not re.search(r"""(src|href)\s*=|@import|url\(|https?://(?!www\.w3\.org/)""", report), "loads something"
    assert not run.processes.family()


def test_one_seed_gives_one_model_to_the_last_bit(processes: Processes, tmp_path: Path) -> None:
    """Everybody taking part; the order in which updates arrive is left to chance."""
    runs = [Run(processes, tmp_path / name) for name in ("first", "second", "other")]
    for run, seed in zip(runs, (7, 7, 8), strict=True):
        run.job.parent.mkdir(exist_ok=True)
        run.start(manifest(SILOS, seed=seed)).complete()
    first, second, other = (digest(run.path / "model.safetensors") for run in runs)
    assert first == second
    assert first != other
