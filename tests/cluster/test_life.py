"""Suspending, editing, deadlines and time to live: as users of Kubernetes expect."""

from __future__ import annotations

from typing import Any

import pytest

from .federation import Federation, Job
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

SLOW: dict[str, Any] = {
    "app__config": {"epochs": 60, "batchSize": 16, "learningRate": 0.1, "hidden": 32},
    "rounds__total": ENDLESS,
}


def test_suspend_and_resume(federation: Federation) -> None:
    with federation.job("suspended", **SLOW) as job:
        job.until_round(2)
        job.patch(suspend=True)
        job.until(lambda j: not j.client_pods("silo-1") and not j.client_pods("silo-4"), "clients scaled to zero")
        job.until(lambda j: j.server_pod() is None, "the server scaled to zero")
        assert job.condition("Suspended")["status"] == "True"
        reached = job.status["round"]["number"]
        job.patch(suspend=False, rounds={"total": reached + 5})
        job.until_complete()
        committed = [entry["round"] for entry in job.status["history"] if entry["outcome"] == "Committed"]
        assert committed[-6:] == list(range(reached, reached + 6)), "what was committed before, stayed"


def test_rounds_total_edited_while_it_runs(federation: Federation) -> None:
    with federation.job("edited", **SLOW) as job:
        job.until_round(1)
        before = job.server_pod()
        job.patch(rounds={"total": 50_000})
        job.until(lambda j: j.status["round"]["total"] == 50_000, "the new total, in the status")
        reached = job.status["round"]["number"]
        job.until_round(reached + 2)
        assert job.server_pod()["metadata"]["uid"] == before["metadata"]["uid"], "no pod was started anew for it"
        job.patch(rounds={"total": 1})
        job.until_complete()
        assert job.status["round"]["number"] < 50_000, "what was committed already is the end"


def test_a_suspended_silo_leaves_the_job_and_comes_back_or_ends_without_the_model(federation: Federation) -> None:
    back, away = "silo-3", "silo-4"
    changes = {
        "app__config": SLOW["app__config"],
        "rounds": {"total": ENDLESS, "quorum": 2, "gatherSeconds": 5},
        "privacy": {"minCohort": 2, "allowSmallCohort": True},
    }
    with federation.job("silo-away", **changes) as job:
        job.until_round(2)
        with federation.suspended(away):
            with federation.suspended(back):
                for silo in (back, away):
                    job.until(lambda j, s=silo: not j.client_pods(s), f"the client in {silo} is stopped")
                    told = f"{silo}: SiloSuspended"
                    job.until(lambda j, t=told: t in j.condition("SilosReady").get("message", ""), "told by name")
            job.until(lambda j: j.ready(back).get("status") == "True" and j.connected() == 3, "it is back")
            job.patch(rounds={"total": 1})
            job.until_complete()
            job.until(lambda j: j.model_kept(back), f"the final model in {back}")
            job.until(lambda j: j.finished(away) == "NoModel", f"{away} says that it has none")


def test_time_to_live(federation: Federation) -> None:
    with federation.job("short-lived", rounds__total=2, ttlSecondsAfterFinished=1) as job:
        job.until(lambda j: not _there(federation, j), "gone by itself")


def test_a_job_that_somebody_else_manages_is_left_alone(federation: Federation) -> None:
    with (
        federation.job("foreign", managedBy="example.org/controller") as job,
        federation.job("own", rounds__total=2) as own,
    ):
        own.until_complete()
        assert not job.status
        assert not job.get()["metadata"].get("finalizers")


def _there(federation: Federation, job: Job) -> bool:
    return bool(federation.hub.kubectl("get", "fj", job.name, "--ignore-not-found", "-o", "name").strip())
