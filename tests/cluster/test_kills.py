"""Anything may be killed in the middle of a round: the job goes on, or resumes, and ends Complete."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from .federation import SILOS, Federation, Job, Object
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

KEPT = 20  # rounds in a job's history


def test_server_alone_and_at_once_with_the_operator(federation: Federation, troubled: str) -> None:
    with federation.job("kill-server", **rounds_of_seconds(troubled)) as job:
        job.until_round(1)
        for others in ((), ("operator",)):
            trained_again(job, server_killed(job, *others))
        end(job)


def test_client_pod_and_agent(federation: Federation, troubled: str) -> None:
    with federation.job("kill-silos", **rounds_of_seconds(troubled)) as job:
        job.until_round(1)
        killed = job.client_pod("silo-3")
        number = job.until_mid_round()
        federation.other.kubectl("delete", "pod", killed, "-n", "silo-3", "--grace-period=0", "--force")
        job.until(lambda j: j.client_pod("silo-3") != killed, "another pod")
        job.until(lambda j: number < with_all(j), "it is back in a round")

        before = [pod["metadata"]["uid"] for pod in job.client_pods("silo-4")]
        number = job.until_mid_round()
        federation.kill("silo-4")
        federation.start_agent("silo-4")
        job.until_round(number + 2)
        assert [pod["metadata"]["uid"] for pod in job.client_pods("silo-4")] == before, "its client was found again"
        end(job)
        job.until(lambda j: j.model_kept("silo-4"), "its new agent tells how it ended")


def test_pieces_of_kubernetes(federation: Federation, troubled: str) -> None:
    with federation.job("kill-pieces", **rounds_of_seconds(troubled)) as job:
        job.until_round(1)
        for component in ("apiserver", "kubelet"):
            number = job.until_mid_round()
            federation.hub.kill(component)
            federation.hub.start(component)
            job.until_round(number + 1)
        end(job)


def rounds_of_seconds(image: str) -> dict[str, Any]:
    """A job that goes on until `end`."""
    app = {"image": image, "client": "client:app", "config": {"pause": 0.4}}
    return {"app": app, "rounds": {"total": ENDLESS, "timeoutSeconds": 120}}


def server_killed(job: Job, *others: str) -> int:
    """The round that its server was killed in, and with it ``others`` of the control plane; all are there again."""
    processes, restarts = job.server_processes(), job.server_restarts()
    assert processes
    number = job.until_mid_round()
    for name in others:
        job.federation.kill(name)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    if "operator" in others:
        job.federation.start_operator()
    job.until(lambda j: j.server_restarts() > restarts, "its container started again")
    return number


def trained_again(job: Job, number: int) -> None:
    """The attempt is lost that its server was killed in, and the round is not."""
    entry: Object = job.until(lambda j: j.history(number), f"round {number} committed")
    assert entry["attempt"] >= 2


def with_all(job: Job) -> int:
    """The last round that has everybody's update; 0 before the first."""
    rounds = [entry for entry in job.status["history"] if entry["outcome"] == "Committed"]
    members = [(entry["round"], entry["members"]) for entry in rounds]
    return max((number for number, m in members if m["full"] + m["partial"] == len(SILOS)), default=0)


def end(job: Job) -> None:
    job.patch(rounds={"total": 1})
    job.until_complete()
    history_is_whole(job)


def history_is_whole(job: Job) -> None:
    """No committed round is missing or there twice."""
    status = job.status
    committed = [entry["round"] for entry in status["history"] if entry["outcome"] == "Committed"]
    first = committed[0] if len(status["history"]) == KEPT else 1
    assert committed == list(range(first, status["round"]["number"] + 1))
