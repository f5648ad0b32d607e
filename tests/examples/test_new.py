"""`umbel new` writes a job that runs at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from .running import complete, umbel

pytestmark = pytest.mark.process


def test_a_new_job_runs_as_it_is(tmp_path: Path) -> None:
    code, said = umbel("new", "my-job", cwd=tmp_path)
    assert code == 0, said
    assert "umbel run my-job/job.yaml" in said
    run = complete(tmp_path / "my-job/job.yaml", tmp_path / "run")
    assert run.accuracy[-1] > run.accuracy[0]
    assert run.accuracy[-1] > 0.8
