"""Silos that run their clients as Slurm jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent.federation import Agent, Federation, federation, process_site, running, slurm_site, until
from safetensors import safe_open
from umbel_cluster.api import Api
from umbel_slurm.processes import PATH
from umbel_slurm.site import CONTROLLER, Site

pytestmark = [pytest.mark.api, pytest.mark.process, pytest.mark.slurm]

HPC, DESKS = "hpc", ["desk-2", "desk-3"]
SILOS = [HPC, *DESKS]
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}
ENDLESS = {"rounds": {"total": 100_000, "timeoutSeconds": 300}, "evaluation": {"everyRounds": 0}}


def hpc(job: Federation, cluster: Site, **slurm: Any) -> Agent:
    """With its state directory where the nodes see it."""
    surroundings = {**cluster.environment, "PATH": PATH}
    site = {"datasets": {"digits-1-of-3": {}}, **slurm_site(**slurm)}
    return job.add(HPC, site, "--backend=slurm", environment=surroundings)


def desks(job: Federation) -> None:
    for number, silo in enumerate(DESKS, 2):
        job.add(silo, {"datasets": {f"digits-{number}-of-3": {}}, **process_site()}, "--backend=process")
    for silo in DESKS:
        job.await_condition(silo, "Ready", "Running")


def mine(cluster: Site, agent: Agent) -> list[tuple[str, str]]:
    """(id, state) of the jobs that have not ended."""
    listed = cluster.run("squeue", "--me", "--noheader", "--format=%A %T %j").splitlines()
    words = [line.split() for line in listed]
    return [(id, state) for id, state, name in words if name.startswith(f"umbel-{agent.silo}-")]


def all_gone(job: Federation, cluster: Site, agent: Agent) -> None:
    job.delete(HPC)
    until(lambda: not mine(cluster, agent), "its jobs are gone", agent.log)
    until(lambda: not (agent.client_folder() / "tls/tls.key").exists(), "its key is gone", agent.log)


def test_digits_to_the_end_over_slurm_and_bare_machines(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, rounds={"total": 5, "timeoutSeconds": 300}) as job:
        agent = hpc(job, cluster)
        job.await_condition(HPC, "Ready", "Running")
        desks(job)
        for silo in SILOS:
            assert job.await_condition(silo, "Finished", "ModelKept")["status"] == "True"
            assert job.client(silo)["status"]["finalModel"] == {"round": 5}
        until(lambda: job.server_exit() is not None, "the server ends", job.server_log)
        assert job.server_exit() == 0
        job.change(HPC, desiredState="Finished")
        job.await_condition(HPC, "Ready", "Finished")
        all_gone(job, cluster, agent)
        with safe_open(str(agent.client_folder() / "state/model.safetensors"), framework="numpy") as model:
            assert model.metadata()["round"] == "5"


def test_preempted_it_is_submitted_again_and_the_rounds_go_on(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster, partition="spare")
        desks(job)
        job.await_condition(HPC, "Ready", "Running")
        ((first, _),) = mine(cluster, agent)
        wrap = "--wrap=sleep 20"
        urgent = cluster.run(
            "sbatch", "--parsable", "--partition=hi", "--nodes=2", "--exclusive", "--output=/dev/null", wrap
        )
        try:
            until(lambda: first not in dict(mine(cluster, agent)), "it gives way", agent.log)
            second = until(lambda: dict(mine(cluster, agent)) or None, "it is submitted again", agent.log)
            assert first not in second
        finally:
            cluster.run("scancel", urgent)
        job.await_condition(HPC, "Ready", "Running")
        done = job.rounds()
        until(lambda: job.rounds() > done, "rounds go on", job.server_log)
        all_gone(job, cluster, agent)


def test_an_agent_killed_and_started_again_finds_its_job(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster)
        job.await_condition(HPC, "Ready", "Running")
        before = mine(cluster, agent)
        agent.end()
        agent.start()
        job.change(HPC, privacy={"minCohort": 4, "minExamples": 11})
        generation = job.client(HPC)["metadata"]["generation"]
        until(lambda: job.client(HPC)["status"]["observedGeneration"] == generation, "it is seen", agent.log)
        assert mine(cluster, agent) == before
        all_gone(job, cluster, agent)


def test_what_is_queued_is_not_said_to_run_and_what_is_impossible_is_said_so(
    api: Api, cluster: Site, tmp_path: Path
) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        everything = cluster.run(
            "sbatch",
            "--parsable",
            "--partition=hi",
            "--nodes=2",
            "--exclusive",
            "--output=/dev/null",
            "--wrap=sleep 600",
        )
        agent = hpc(job, cluster)
        try:
            job.await_condition(HPC, "Ready", "Queued")
            job.ask(HPC, resources={"limits": {"umbel.dev/nodes": "9"}})
            said = job.await_condition(HPC, "Ready", "ImpossibleRequest")
            assert said["message"].startswith("the partition can never give what the job asks for")
            until(lambda: not mine(cluster, agent), "it is not left in the queue", agent.log)
        finally:
            cluster.run("scancel", everything)
        job.ask(HPC)
        job.await_condition(HPC, "Ready", "Running")
        all_gone(job, cluster, agent)


def test_a_controller_that_is_away_for_a_while_is_no_news(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster)
        desks(job)
        job.await_condition(HPC, "Ready", "Running")
        before = mine(cluster, agent)
        cluster.stop_daemon(CONTROLLER)
        try:
            said = "the scheduler did not do as it was told"
            until(lambda: said in agent.log(), "the agent notices", agent.log)
            done = job.rounds()
            until(lambda: job.rounds() > done, "rounds go on", job.server_log)
            assert job.condition(HPC, "Ready")["reason"] == "Running"
        finally:
            cluster.start_daemon(CONTROLLER)
        until(lambda: mine(cluster, agent) == before, "the job is as it was", agent.log)
        all_gone(job, cluster, agent)


def test_a_submission_of_which_nobody_knows_makes_no_second_job(api: Api, cluster: Site, tmp_path: Path) -> None:
    """`sbatch` does what it should and then hangs: the agent gives it up, and finds the job by its name."""
    shims = tmp_path / "shims"
    shims.mkdir()
    real = cluster.run("sh", "-c", "command -v sbatch")
    shim = shims / "sbatch"
    shim.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/hung ] && exec {real} "$@"\n{real} "$@" >/dev/null\n'
        f"touch {tmp_path}/hung\nexec sleep 600\n"
    )
    shim.chmod(0o755)
    with federation(api, tmp_path / "job", SILOS, **ENDLESS) as job:
        site = {"datasets": {"digits-1-of-3": {}}, **slurm_site()}
        surroundings = {**cluster.environment, "PATH": f"{shims}:{PATH}"}
        agent = job.add(HPC, site, "--backend=slurm", environment=surroundings)
        job.await_condition(HPC, "Ready", "Running")
        assert "nobody knows whether a job was submitted" in (agent.folder / "agent.log").read_text()
        assert len(mine(cluster, agent)) == 1
        attempt = json.loads((agent.client_folder() / "attempt.json").read_text())
        assert attempt["number"] == 1
        assert attempt["job"] == mine(cluster, agent)[0][0]
        assert running(agent.state_dir)
        all_gone(job, cluster, agent)


def test_what_the_scheduler_refuses_is_said_and_why_is_the_silos_own(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster, partition="nowhere")
        said = job.await_condition(HPC, "Ready", "SubmissionRefused")
        assert said["message"] == "the site's scheduler refuses the job; the agent's log says why"
        assert "there is no such partition" in agent.log()
        assert mine(cluster, agent) == []


def test_a_node_that_is_lost_costs_an_attempt_and_no_more(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster, options={"nodelist": "n1"})
        desks(job)
        job.await_condition(HPC, "Ready", "Running")
        ((first, _),) = mine(cluster, agent)
        cluster.lose_node("n1")
        try:
            until(lambda: first not in dict(mine(cluster, agent)), "the loss is noticed", agent.log)
            job.await_condition(HPC, "Ready", "NodesUnavailable")
        finally:
            cluster.start_daemon("n1")
        job.await_condition(HPC, "Ready", "Running")
        done = job.rounds()
        until(lambda: job.rounds() > done, "rounds go on", job.server_log)
        all_gone(job, cluster, agent)
        cluster.await_nodes(*cluster.nodes)


def test_a_client_of_two_nodes(api: Api, cluster: Site, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        agent = hpc(job, cluster, rankHost="127.0.0.1", environment=LOOPBACK)
        job.await_condition(HPC, "Ready", "Running")
        desks(job)
        job.ask(HPC, resources={"limits": {"umbel.dev/nodes": "2"}})

        def nodes() -> bool:
            shown = cluster.run("squeue", "--me", "--noheader", "--states=RUNNING", "--format=%D %j").splitlines()
            return any(line.startswith(f"2 umbel-{HPC}-") for line in shown)

        until(nodes, "it runs on two nodes", agent.log)
        job.await_condition(HPC, "Ready", "Running")
        until(lambda: len(running(agent.state_dir)) >= 2, "both ranks", agent.log)
        done = job.rounds()
        until(lambda: job.rounds() > done, "rounds go on", job.server_log)
        all_gone(job, cluster, agent)
        until(lambda: not running(agent.state_dir), "both ranks are gone", agent.log)
