"""Anything may be killed: the job goes on, or resumes, and ends Complete."""

from __future__ import annotations

import os
import signal

import pytest

from .federation import Federation, Job

pytestmark = pytest.mark.cluster

SLOW = {"app__config": {"epochs": 60, "batchSize": 16, "learningRate": 0.1, "hidden": 32}, "rounds__total": 15}


def kill_server(job: Job) -> None:
    for pid in job.server_processes():
        os.kill(pid, signal.SIGKILL)


def history_is_whole(job: Job) -> None:
    """No committed round is lost or done twice."""
    committed = [entry["round"] for entry in job.status["history"] if entry["outcome"] == "Committed"]
    assert committed == sorted(set(committed))
    assert committed[-1] == job.status["round"]["number"]


def test_server(federation: Federation) -> None:
    with federation.job("kill-server", **SLOW) as job:
        job.until_round(3)
        kill_server(job)
        job.until_complete()
        history_is_whole(job)


def test_client_pod(federation: Federation) -> None:
    with federation.job("kill-client", **SLOW) as job:
        job.until_round(2)
        pod = job.client_pods("silo-3")[0]["metadata"]["name"]
        federation.other.kubectl("delete", "pod", pod, "-n", "silo-3", "--grace-period=0", "--force")
        job.until_complete()
        history_is_whole(job)


def test_operator_and_server_at_once(federation: Federation) -> None:
    with federation.job("kill-both", **SLOW) as job:
        job.until_round(2)
        federation.kill("operator")
        kill_server(job)
        federation.start_operator()
        job.until_complete()
        history_is_whole(job)


def test_agent(federation: Federation) -> None:
    with federation.job("kill-agent", **SLOW) as job:
        job.until_round(2)
        before = [pod["metadata"]["uid"] for pod in job.client_pods("silo-4")]
        federation.kill("silo-4")
        federation.start_agent("silo-4")
        job.until_round(4)
        assert [pod["metadata"]["uid"] for pod in job.client_pods("silo-4")] == before, "its client was found again"
        job.until_complete()


@pytest.mark.parametrize("component", ["apiserver", "kubelet"])
def test_piece_of_kubernetes(federation: Federation, component: str) -> None:
    with federation.job(f"kill-{component}", **SLOW) as job:
        job.until_round(2)
        federation.hub.kill(component)
        federation.hub.start(component)
        job.until_complete()
        history_is_whole(job)
