"""One client over the two nodes of a site: its ranks train together, and stop together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from process.harness import Processes
from safetensors.numpy import load_file
from umbel_slurm.processes import is_alive

from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.standing import Phase

from .conftest import ROOT
from .desk import Desk
from .federation import ALONE, SILO, Federation

pytestmark = [pytest.mark.slurm, pytest.mark.frameworks]

EXAMPLE = ROOT / "examples/mnist-torch"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}
WAITING = '''
import os, time
from pathlib import Path
import parallel
import umbel

HERE = Path(__file__).parent

def train(model, batches):
    """Every rank says at which step it is; the first waits at its fifth until it is told to stop, or to go on."""
    def seen():
        for step, batch in enumerate(batches):
            (HERE / f"{os.environ['SLURM_PROCID']}.{os.environ['SLURMD_NODENAME']}").write_text(str(step + 1))
            yield batch
            while step == 4 and os.environ["SLURM_PROCID"] == "0" and not (HERE / "go").exists():
                time.sleep(0.05)
    return parallel.train(model, seen())

app = umbel.torch.federate(parallel.network, train, parallel.evaluate, parallel.examples)
'''


def job(client: str = "parallel:app", **spec: Any) -> dict[str, Any]:
    made = yaml.safe_load((EXAMPLE / "parallel.yaml").read_text())
    made["spec"] |= {"silos": [{"name": SILO, "dataset": "mnist-1-of-10"}], **ALONE, **spec}
    made["spec"]["app"]["client"] = client
    return made  # type: ignore[no-any-return]


async def completed(desk: Desk, id: str) -> BatchJob:
    job, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Completed", desk.said()
    return job


async def test_two_nodes_train_as_one_client_does_alone(large_desk: Desk, processes: Processes, tmp_path: Path) -> None:
    """The same model, but for the order in which floating point numbers are added."""
    models = []
    for tasks in (2, 1):
        folder = tmp_path / str(tasks)
        federation = Federation(processes, folder, job(rounds={"total": 2}), EXAMPLE)
        command = federation.client("--rank-host", "127.0.0.1", **LOOPBACK)
        id = await large_desk.submit(command, tasks=tasks, nodes=tasks)
        assert len((await completed(large_desk, id)).nodes) == tasks
        assert len(federation.history()) == 2
        models.append(load_file(folder / "state/model.safetensors"))
    together, alone = models
    assert large_desk.said().count("rank 1 of 2: ready") == 1
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, atol=1e-3)


async def test_term_has_both_nodes_stop_at_the_same_step(
    large_desk: Desk, processes: Processes, tmp_path: Path
) -> None:
    """Without agreement the second rank would wait for the first in a reduction, or the other way round."""
    (tmp_path / "waiting.py").write_text(WAITING.strip())
    federation = Federation(
        processes,
        tmp_path,
        job("waiting:app", rounds={"total": 2, "timeoutSeconds": 600}, evaluation={"everyRounds": 0}),
        tmp_path,
        EXAMPLE,
    )
    options = ("--rank-host", "127.0.0.1", "--stop-seconds", "60")
    command = federation.client(*options, **LOOPBACK)
    id = await large_desk.submit(command, tasks=2, nodes=2)
    first, second = tmp_path / "0.n1", tmp_path / "1.n2"
    await large_desk.until(id, lambda *_: second.exists() and second.read_text() == "6")
    await large_desk.slurm.cancel(id, "TERM")
    await large_desk.until_said("told to end")
    (tmp_path / "go").touch()
    found, standing = await large_desk.until_phase(id, Phase.ENDED)
    assert (standing.reason, found.exit_code) == ("Stopped", 75), large_desk.said()
    assert first.read_text() == second.read_text() == "6"
    assert "round 1: update accepted (6 steps)" in large_desk.said()
    again = await large_desk.submit(command, tasks=2, nodes=2)  # the next attempt trains the next round
    await completed(large_desk, again)
    assert [(record["partial"], record["full"]) for record in federation.history()] == [(1, 0), (0, 1)]


async def test_a_node_that_is_lost_ends_all_ranks(large_desk: Desk, processes: Processes, tmp_path: Path) -> None:
    """Nobody waits in a reduction for one that is gone; the next attempt trains the round."""
    (tmp_path / "waiting.py").write_text(WAITING.strip())
    federation = Federation(
        processes,
        tmp_path,
        job("waiting:app", rounds={"total": 1, "timeoutSeconds": 600}, evaluation={"everyRounds": 0}),
        tmp_path,
        EXAMPLE,
    )
    options = ("--rank-host", "127.0.0.1")
    command = federation.client(*options, **LOOPBACK)
    id = await large_desk.submit(command, tasks=2, nodes=2)
    second = tmp_path / "1.n2"
    await large_desk.until(id, lambda *_: second.exists() and second.read_text() == "6")
    here = large_desk.site.processes(id)
    large_desk.site.lose_node("n2")
    _, standing = await large_desk.until_phase(id, Phase.ENDED)
    assert standing.again
    assert "rank 1: the other rank has gone" in large_desk.said()
    assert not any(is_alive(pid) for pid in here)
    large_desk.site.start_daemon("n2")
    large_desk.site.await_nodes("n1", "n2")
    (tmp_path / "go").touch()
    await completed(large_desk, await large_desk.submit(command, tasks=2, nodes=2))
    assert (federation.history()[-1]["outcome"], federation.history()[-1]["full"]) == ("Committed", 1)
