"""What a client asks for, its ranks get: the agent's own script and options, at a real Slurm whose nodes have GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
from umbel_slurm.processes import PATH, SlurmError
from unit.operator.agent.silo import client, site_file

from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.batch.options import CLASHES
from umbel_operator.agent.batch.standing import Phase
from umbel_operator.agent.federatedclient import Server

from .desk import Desk

pytestmark = pytest.mark.slurm

# In place of python: says what it has. Of the step, as the controller has it.
RANK = """#!/bin/sh
echo "rank $SLURM_PROCID: GPU $CUDA_VISIBLE_DEVICES"
[ "$SLURM_PROCID" = 1 ] || scontrol show step "$SLURM_JOB_ID.$SLURM_STEP_ID"
"""


def request(folder: Path, **limits: str) -> Request:
    program = folder / "python"
    program.write_text(RANK)
    program.chmod(0o755)
    site = site_file(slurm={"python": str(program), "timeLimitSeconds": 600}, datasets={"named": {}})
    assert site.slurm is not None
    (folder / "state").mkdir()
    (folder / "token").write_text("t-1")
    server = Server("grpcs://127.0.0.1:1", "nobody")
    return Request(client(resources={"limits": limits}), site, site.slurm, server, folder, {"PATH": PATH})


async def test_every_rank_has_its_processors_and_a_gpu_of_its_own(large_desk: Desk, tmp_path: Path) -> None:
    made = request(tmp_path, **{"umbel.dev/nodes": "1", "umbel.dev/tasks": "2", "cpu": "2", "nvidia.com/gpu": "1"})
    id = await large_desk.slurm.submit(made.script("t-1"), made.options("umbel-a", "umbel silo=a"))
    job, found = await large_desk.until_phase(id, Phase.ENDED)
    said = (tmp_path / "client.log").read_text()
    assert (found.reason, len(job.nodes)) == ("Completed", 1), said
    assert {"rank 0: GPU 0", "rank 1: GPU 1"} <= set(said.splitlines())
    assert "TresPerStep=cpu:4" in said, "srun knows that it is two for each, and binds them so"
    assert "TresPerTask=cpu:2,gres:gpu:1" in said


@pytest.mark.parametrize("option", sorted(CLASHES))
def test_what_a_site_may_not_add_is_what_sbatch_does_not_take(large_desk: Desk, option: str) -> None:
    asked = ["--output=/dev/null", "--wrap=true", "--ntasks=1", "--cpus-per-task=1", "--gpus-per-task=1", "--mem=64M"]
    large_desk.site.run("sbatch", *asked)
    with pytest.raises(SlurmError, match="mutually exclusive"):
        large_desk.site.run("sbatch", *asked, f"--{option}=1")
