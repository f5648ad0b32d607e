"""An agent that dies at a Slurm site, and what it finds when it is back."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from agent.centre import ENDLESS, HPC, SILOS, all_gone, attempt, hpc, mine, whole_log
from agent.federation import Agent, Federation, federation, until
from umbel_cluster.api import Api
from umbel_slurm.accounting import ACCOUNTING
from umbel_slurm.site import Site

pytestmark = [pytest.mark.api, pytest.mark.process, pytest.mark.slurm]


def since(cluster: Site, first: str) -> list[str]:
    """All jobs that there have been from this one on, by their numbers."""
    known = cluster.run("sacct", "--noheader", "--allocations", "--starttime=1970-01-01", "--format=JobIDRaw").split()
    return [id for id in known if int(id) >= int(first)]


def ends_unseen(cluster: Site, job: str, *how: str) -> None:
    """Returns when the queue does not know it any more."""
    cluster.run("scancel", *how, job)
    listed = ("squeue", "--noheader", "--states=all", "--format=%A")
    until(lambda: job not in cluster.run(*listed).split(), "the queue has forgotten it")


def seen_anew(job: Federation, agent: Agent) -> None:
    """The agent has come to what is asked for now."""
    job.change(HPC, privacy={"minCohort": 4, "minExamples": 11})
    generation = job.client(HPC)["metadata"]["generation"]
    until(lambda: job.client(HPC)["status"]["observedGeneration"] == generation, "it is seen", agent.log)


def test_an_agent_that_was_killed_finds_its_job_or_learns_how_it_ended(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster)
        job.await_condition(HPC, "Ready", "Running")
        ((first, _),) = mine(cluster, agent)
        agent.end(signal.SIGKILL)
        agent.start()
        seen_anew(job, agent)
        assert mine(cluster, agent) == [(first, "RUNNING")]

        agent.end(signal.SIGKILL)
        log = agent.client_folder() / "client.log"
        until(lambda: ": connected," in log.read_text(), "its client heeds TERM", log.read_text)
        ends_unseen(cluster, first, "--signal=TERM")  # and ends with exit code 75
        agent.start()
        ((second, _),) = until(lambda: mine(cluster, agent), "it is submitted again", agent.log)
        job.await_condition(HPC, "Ready", "Running")
        assert (attempt(agent)["number"], attempt(agent)["failures"]) == (2, 0), "nobody's fault, says the accounting"
        until(lambda: since(cluster, first) == [first, second], "the accounting has heard of one more, and no other")

        agent.end(signal.SIGKILL)
        cluster.stop_daemon(ACCOUNTING)
        try:
            ends_unseen(cluster, second)
            agent.start()
            until(lambda: '"reason": "JobForgotten"' in whole_log(agent), "nobody knows how it ended", agent.log)
            assert "the accounting does not say how a job ended" in whole_log(agent)
        finally:
            cluster.start_daemon(ACCOUNTING)
        all_gone(job, cluster, agent)
