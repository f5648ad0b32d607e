"""Silos that run their clients as plain processes: a bare machine, no cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from agent.federation import Federation, federation, process_site, running, until
from safetensors import safe_open
from umbel_cluster.api import Api

pytestmark = [pytest.mark.api, pytest.mark.process]

SILOS = ["desk-1", "desk-2", "desk-3"]
ENDLESS = {"rounds": {"total": 100_000, "timeoutSeconds": 300}, "evaluation": {"everyRounds": 0}}


def datasets(number: int) -> dict[str, Any]:
    return {"datasets": {f"digits-{number}-of-3": {}}, **process_site()}


def all_join(job: Federation) -> None:
    for number, silo in enumerate(SILOS, 1):
        job.add(silo, datasets(number), "--backend=process")
    for silo in SILOS:
        job.await_condition(silo, "Ready", "Running")


def test_digits_to_the_end_and_only_the_state_is_left(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, rounds={"total": 5, "timeoutSeconds": 300}) as job:
        all_join(job)
        folders = {silo: job.agents[silo].client_folder() for silo in SILOS}
        for silo, folder in folders.items():
            said = until(
                lambda silo=silo: job.client(silo)["status"].get("finalModel"), "the final model", job.server_log
            )
            assert said == {"round": 5}
            assert job.await_condition(silo, "Finished", "ModelKept")["status"] == "True"
            assert folder.name == f"{job.name(silo)}-{job.uid}"
            assert folder.stat().st_mode & 0o777 == 0o700
            for secret in (folder / "tls").iterdir():
                assert secret.stat().st_mode & 0o777 == 0o600
        assert until(lambda: job.server_exit() is not None, "the server ends", job.server_log)
        assert job.server_exit() == 0
        for silo in SILOS:
            job.change(silo, desiredState="Finished")
            job.await_condition(silo, "Ready", "Finished")
            until(lambda silo=silo: not running(job.agents[silo].state_dir), "its client is gone")
            job.delete(silo)
        for silo, folder in folders.items():
            until(lambda f=folder: not (f / "tls/tls.key").exists(), "its key is gone", job.agents[silo].log)
            with safe_open(str(folder / "state/model.safetensors"), framework="numpy") as model:
                assert model.metadata()["round"] == "5"


def test_an_agent_killed_and_started_again_finds_its_client(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        all_join(job)
        agent = job.agents["desk-2"]
        (before,) = running(agent.state_dir)
        agent.end(signal.SIGKILL)
        until(lambda: job.rounds() >= 2, "rounds without the agent", job.server_log)
        agent.start()
        job.change("desk-2", privacy={"minCohort": 4, "minExamples": 11})
        generation = job.client("desk-2")["metadata"]["generation"]
        until(
            lambda: job.client("desk-2")["status"]["observedGeneration"] == generation,
            "the agent has seen it",
            agent.log,
        )
        assert running(agent.state_dir) == [before]
        assert job.condition("desk-2", "Ready")["reason"] == "Running"


def test_a_client_that_ended_while_the_agent_was_dead_is_started_again(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        all_join(job)
        agent = job.agents["desk-3"]
        (before,) = running(agent.state_dir)
        agent.end(signal.SIGKILL)
        os.kill(before, signal.SIGKILL)
        until(lambda: not running(agent.state_dir), "the client is dead")
        agent.start()
        (after,) = until(lambda: running(agent.state_dir), "another client", agent.log)
        assert after != before
        job.await_condition("desk-3", "Ready", "Running")


def test_a_client_sees_nothing_of_the_agents_surroundings_and_is_stopped_whole(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        all_join(job)
        agent = job.agents["desk-1"]
        (client,) = running(agent.state_dir)
        surroundings = Path(f"/proc/{client}/environ").read_bytes()
        assert b"OMP_NUM_THREADS=1" in surroundings.split(b"\0")
        assert b"SECRET_OF_THE_AGENT" not in surroundings
        job.change("desk-1", desiredState="Suspended")
        job.await_condition("desk-1", "Ready", "Suspended")
        until(lambda: not running(agent.state_dir), "it is stopped", agent.log)
        exit_ = agent.client_folder() / "exit"  # written by who waits for it, a moment after its end
        until(lambda: exit_.exists() and exit_.read_text().strip() == "75", "it can go on from there", agent.log)
        job.change("desk-1", desiredState="Running")
        until(lambda: running(agent.state_dir), "it goes on", agent.log)
        job.await_condition("desk-1", "Ready", "Running")


def test_a_client_whose_code_fails_is_said_so(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, SILOS, **ENDLESS) as job:
        right = datasets(1)
        wrong = {**right, "process": {**right["process"], "appPath": []}}
        agent = job.add("desk-1", wrong, "--backend=process")
        said = job.await_condition("desk-1", "Ready", "Refused")
        assert "exit code 2" in said["message"]
        agent.end()
        agent.site = {**agent.site, **right}
        agent.start()
        job.await_condition("desk-1", "Ready", "Running")
