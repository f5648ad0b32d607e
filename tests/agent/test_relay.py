"""A Slurm site whose compute nodes reach no server, and the login node: its agent passes the bytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from umbel_cluster.api import Api
from umbel_slurm.site import Site

from .federation import federation, until
from .island import island
from .test_slurm import HPC, SILOS, all_gone, desks, hpc, mine

pytestmark = [pytest.mark.api, pytest.mark.process, pytest.mark.slurm]
ROUNDS = 300
TOGETHER = {"total": ROUNDS, "timeoutSeconds": 300, "quorum": 3, "updates": 3}  # no round without the site


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_nodes_without_a_route_out_train_to_the_end_and_across_a_restart_of_the_agent(
    api: Api, cluster: Site, tmp_path: Path
) -> None:
    with island() as nodes, federation(api, tmp_path, SILOS, rounds=TOGETHER, evaluation={"everyRounds": 50}) as job:
        server = urlsplit(job.endpoints["federation"])
        assert server.hostname is not None
        assert server.port is not None
        assert not nodes.reaches(server.hostname, server.port)
        python = nodes.python(tmp_path / "python")
        agent = hpc(job, cluster, python=str(python), relay={"listen": f"{nodes.host}:0"})
        desks(job)
        until(lambda: bool(job.client(HPC)) and job.rounds() >= 2, "rounds through the relay", job.server_log)
        before, port = mine(cluster, agent), (agent.state_dir / "relay.port").read_text()
        agent.end(signal.SIGKILL)
        assert not nodes.reaches(nodes.host, int(port)), "nothing listens while there is no agent"
        done = job.rounds()
        assert done < ROUNDS
        agent.start()
        until(lambda: job.rounds() > done + 1, "rounds go on", job.server_log)
        assert (agent.state_dir / "relay.port").read_text() == port
        assert mine(cluster, agent) == before, "the same job: it has found the relay again"
        for silo in SILOS:
            job.await_condition(silo, "Finished", "ModelKept")
            assert job.client(silo)["status"]["finalModel"] == {"round": ROUNDS}
        until(lambda: job.server_exit() is not None, "the server ends", job.server_log)
        assert job.server_exit() == 0
        job.change(HPC, desiredState="Finished")
        job.await_condition(HPC, "Ready", "Finished")
        all_gone(job, cluster, agent)
