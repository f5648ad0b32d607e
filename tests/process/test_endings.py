"""The ways in which a job ends."""

from __future__ import annotations

import pytest

from .harness import Run, manifest

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3")


def app(**config: float) -> dict[str, object]:
    return {"client": "controlled:app", "config": {"size": 64, **config}}


def test_no_rounds_measure_the_initial_model(run: Run) -> None:
    run.start(manifest(rounds={"total": 0})).complete()
    (record,) = run.history()
    assert record["round"] == 0
    assert record["evaluate"]["loss"] == 1.0
    assert record["train"] == {}
    for silo in SILOS:
        assert (run.path / "silos" / silo / "state" / "model.safetensors").exists()


def test_a_goal_that_is_reached_ends_it_early(run: Run) -> None:
    job = manifest(rounds={"total": 100, "stopWhen": {"metric": "loss", "atMost": 0.3}})
    run.start(job).complete()
    assert run.committed() == [1, 2, 3]  # the loss is 1 / (1 + round)
    assert "StopConditionMet" in run.server_log()


def test_a_model_that_diverges_fails_it(run: Run) -> None:
    run.start(manifest(app=app(loss=1e9), rounds={"total": 100}))
    assert run.wait() == 1
    assert "Failed: Diverged" in run.said()
    assert run.committed() == list(range(1, 11))
    assert (run.path / "model.safetensors").exists()
    assert "Diverged" in (run.path / "report.html").read_text()


@pytest.mark.parametrize("manner", ["slow", "hold"])
def test_a_job_has_a_deadline(run: Run, manner: str) -> None:
    """Whether its clients heed it or not: the reason is the server's, and no silo is blamed."""
    run.control.order("fit.2", manner)
    job = manifest(rounds={"total": 3, "timeoutSeconds": 600}, activeDeadlineSeconds=8)
    run.start(job, launcher={"UMBEL_TEST_PAUSE": "0.2"})
    assert run.wait() == 1
    assert "Failed: DeadlineExceeded" in run.said()
    assert "is Failed" not in run.said()
    assert not run.processes.family()
