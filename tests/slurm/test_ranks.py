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
from .federation import ALONE, SILO, Federation, worked

pytestmark = [pytest.mark.slurm, pytest.mark.frameworks]

EXAMPLE = ROOT / "examples/mnist-torch"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}
WAITING = '''
import os, time
from pathlib import Path
import parallel
import umbel

HERE = Path(__file__).parent
calls = 0

def train(model, batches):
    """Every rank says at which step it is; the first does not end its fifth until it is told to stop, or to go on."""
    global calls
    calls += 1
    rank = int(os.environ["SLURM_PROCID"])
    def seen():
        for step, batch in enumerate(batches, 1):
            (HERE / f"round-{calls}.rank-{rank}").write_text(str(step))
            yield batch
            while rank == 0 and step == 5 and not batches._progress.stop.is_set() and not (HERE / "go").exists():
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


def step(folder: Path, rank: int) -> int:
    """At which the rank is, or ended, in its first round."""
    path = folder / f"round-1.rank-{rank}"
    return int(path.read_text() or 0) if path.exists() else 0


def waiting(processes: Processes, folder: Path, **rounds: int) -> Federation:
    (folder / "waiting.py").write_text(WAITING.strip())
    made = job("waiting:app", rounds={"timeoutSeconds": 600, **rounds}, evaluation={"everyRounds": 0})
    return Federation(processes, folder, made, folder, EXAMPLE)


@pytest.mark.parametrize("how", ["TERM", "WrapUp"])
async def test_both_nodes_stop_at_the_same_step(
    large_desk: Desk, processes: Processes, tmp_path: Path, how: str
) -> None:
    """Without agreement the second rank, a step ahead, would wait for the first in a reduction for ever."""
    pace = {"timeoutSeconds": 120, "graceSeconds": 60} if how == "WrapUp" else {}
    federation = waiting(processes, tmp_path, total=2, **pace)
    command = federation.client("--rank-host", "127.0.0.1", "--stop-seconds", "60", **LOOPBACK)
    id = await large_desk.submit(command, tasks=2, nodes=2)
    await large_desk.until(id, lambda *_: step(tmp_path, 1) == 6)
    if how == "TERM":
        await large_desk.slurm.cancel(id, "TERM")
        found, standing = await large_desk.until_phase(id, Phase.ENDED)
        assert (standing.reason, found.exit_code) == ("Stopped", 75), large_desk.said()
        assert "round 1: update accepted (6 steps)" in large_desk.said()
    await large_desk.until(id, lambda *_: bool(federation.history()))
    assert step(tmp_path, 0) == step(tmp_path, 1) == 6
    (tmp_path / "go").touch()
    last = await large_desk.submit(command, tasks=2, nodes=2) if how == "TERM" else id
    await completed(large_desk, last)
    assert worked(federation.history()) == [(1, 0), (0, 1)]


async def test_a_node_that_is_lost_ends_all_ranks(large_desk: Desk, processes: Processes, tmp_path: Path) -> None:
    """Nobody waits in a reduction for one that is gone; the next attempt trains the round."""
    federation = waiting(processes, tmp_path, total=1)
    command = federation.client("--rank-host", "127.0.0.1", **LOOPBACK)
    id = await large_desk.submit(command, tasks=2, nodes=2)
    await large_desk.until(id, lambda *_: step(tmp_path, 1) == 6)
    here = large_desk.site.processes(id)
    large_desk.site.lose_node("n2")
    await large_desk.until_phase(id, Phase.ENDED)
    assert "rank 1: the other rank has gone" in large_desk.said()
    assert not any(is_alive(pid) for pid in here)
    large_desk.site.start_daemon("n2")
    large_desk.site.await_nodes("n1", "n2")
    (tmp_path / "go").touch()
    await completed(large_desk, await large_desk.submit(command, tasks=2, nodes=2))
    assert (federation.history()[-1]["outcome"], federation.history()[-1]["full"]) == ("Committed", 1)
