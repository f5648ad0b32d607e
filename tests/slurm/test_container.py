"""What the agent submits for a client in a container, run by a real Slurm on two nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from process.harness import Processes
from umbel_slurm.processes import PATH
from unit.operator.agent.silo import client, site_file

from umbel.wire import pki
from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.federatedclient import Server

from .apptainer import shim
from .desk import Desk
from .federation import DOMAIN, SILO, Federation
from .test_ranks import EXAMPLE, LOOPBACK, completed, job

pytestmark = [pytest.mark.slurm, pytest.mark.frameworks]
DATASET = "mnist-1-of-10"
TOKEN = "attempt-1"


def request(federation: Federation, folder: Path, **resources: Any) -> Request:
    """As an agent makes it; the client's folder is made, too."""
    slurm = {
        "container": {"program": str(shim(folder)), "images": {"registry.local/mnist": "/images/mnist.sif"}},
        "appPath": [str(EXAMPLE)],
        "environment": LOOPBACK,
        "rankHost": "127.0.0.1",
        **{"timeLimitSeconds": 600, "termSeconds": 30},
    }
    site = site_file(silo=SILO, datasets={DATASET: {}}, slurm=slurm, pods={"defaults": {"limits": {"cpu": "1"}}})
    app = {"image": "registry.local/mnist", "client": "parallel:app"}
    asked = client(silo=SILO, dataset=DATASET, app=app, resources={"limits": resources})
    (folder / "state").mkdir()
    federation.authority.issue(folder / "tls", pki.silo_id(DOMAIN, SILO))
    (folder / "token").write_text(TOKEN)
    assert site.slurm is not None
    return Request(
        asked, site, site.slurm, Server(federation.address, federation.name), folder, {"PATH": f"{PATH}:/nowhere"}
    )


async def test_two_ranks_in_containers_train_as_one_client(
    large_desk: Desk, processes: Processes, tmp_path: Path
) -> None:
    federation = Federation(processes, tmp_path, job(rounds={"total": 2}), EXAMPLE)
    made = request(federation, tmp_path, **{"umbel.dev/tasks": "2", "umbel.dev/nodes": "2"})
    id = await large_desk.slurm.submit(made.script(TOKEN), made.options("umbel-site-attempt-1", "umbel silo=test"))
    log = tmp_path / "client.log"
    done = await completed(large_desk, id)
    assert len(done.nodes) == 2, log.read_text()
    assert log.read_text().count("rank 1 of 2: ready") == 1
    assert [(record["outcome"], record["full"]) for record in federation.history()] == [("Committed", 1)] * 2
    notes = [json.loads(line) for line in (tmp_path / "apptainer.notes").read_text().splitlines()]
    assert sorted(inside["SLURM_PROCID"] for _, inside in notes) == ["0", "1"]
    for words, inside in notes:
        assert words[-1] == "/images/mnist.sif"
        assert inside["GLOO_SOCKET_IFNAME"] == "lo"
        assert inside["OMP_NUM_THREADS"] == "1"
        assert "/nowhere" not in inside["PATH"]
        assert "SLURM_JOB_NAME" not in inside, "nothing but what the ranks need"
