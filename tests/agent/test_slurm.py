"""Silos that run their clients as Slurm jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.centre import ENDLESS, HPC, SILOS, all_gone, attempt, desks, hpc, mine, whole_log
from agent.federation import federation, running, slurm_site, until
from safetensors import safe_open
from umbel_cluster.api import Api
from umbel_slurm.processes import PATH
from umbel_slurm.site import CONTROLLER, Site

pytestmark = [pytest.mark.api, pytest.mark.process, pytest.mark.slurm]

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}


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


def test_preempted_requeued_and_out_of_time_it_comes_back_and_the_rounds_go_on(
    api: Api, cluster: Site, tmp_path: Path
) -> None:
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

        ((second, _),) = mine(cluster, agent)
        cluster.run("scontrol", "update", f"JobId={second}", "Requeue=1")
        cluster.run("scontrol", "requeue", second)
        again = ("squeue", "--noheader", f"--jobs={second}", "--Format=RestartCnt:4,State:12")
        until(lambda: cluster.run(*again).split() == ["1", "RUNNING"], "it runs once more", agent.log)
        job.await_condition(HPC, "Ready", "Running")
        assert mine(cluster, agent) == [(second, "RUNNING")], "the same job, and no other"
        until(lambda: running(agent.state_dir), "its client is there again", agent.log)

        cluster.run("scontrol", "update", f"JobId={second}", "EndTime=now")
        until(lambda: second not in dict(mine(cluster, agent)), "its time is up", agent.log)
        until(lambda: '"reason": "TimeLimit"' in whole_log(agent), "that is said", agent.log)
        until(lambda: mine(cluster, agent), "it is submitted again", agent.log)
        job.await_condition(HPC, "Ready", "Running")
        done = job.rounds()
        until(lambda: job.rounds() > done, "rounds go on", job.server_log)
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
        until(job.rounds, "it trains: without a controller `srun` could not begin", job.server_log)
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
        assert "nobody knows whether a job was submitted" in whole_log(agent)
        assert len(mine(cluster, agent)) == 1
        assert attempt(agent)["number"] == 1
        assert attempt(agent)["job"] == mine(cluster, agent)[0][0]
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
