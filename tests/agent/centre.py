"""A job of three silos, the first of which is an HPC centre."""

from __future__ import annotations

import json
from typing import Any

from agent.federation import Agent, Federation, process_site, slurm_site, until
from umbel_slurm.processes import PATH
from umbel_slurm.site import Site

HPC, DESKS = "hpc", ["desk-2", "desk-3"]
SILOS = [HPC, *DESKS]
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


def whole_log(agent: Agent) -> str:
    return (agent.folder / "agent.log").read_text()


def attempt(agent: Agent) -> dict[str, Any]:
    """As the agent has written it down."""
    found: dict[str, Any] = json.loads((agent.client_folder() / "attempt.json").read_text())
    return found
