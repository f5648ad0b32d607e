"""A network in PyTorch, trained by three Slurm sites: each silo's batches are an HPC centre's job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from agent.federation import ROOT, Federation, federation, running, slurm_site, until
from safetensors import safe_open
from safetensors.numpy import load_file
from umbel_cluster.api import Api
from umbel_slurm import site
from umbel_slurm.processes import PATH
from umbel_slurm.site import Site

from umbel.cli import records

pytestmark = [pytest.mark.api, pytest.mark.process, pytest.mark.slurm, pytest.mark.frameworks]

MNIST = ROOT / "examples/mnist-torch"
SILOS = ["centre-1", "centre-2", "centre-3"]
ROUNDS = 5


@pytest.fixture
def sites() -> Iterator[dict[str, Site]]:
    with contextlib.ExitStack() as stack:
        yield {silo: stack.enter_context(site.running(silo, cpus=1)) for silo in SILOS}


def test_mnist_to_the_end_over_three_slurm_sites(api: Api, sites: dict[str, Site], tmp_path: Path) -> None:
    rounds = {"total": ROUNDS, "timeoutSeconds": 300, "gatherSeconds": 300}
    with federation(api, tmp_path, SILOS, example=MNIST, rounds=rounds) as job:
        for number, silo in enumerate(SILOS, 1):
            join(job, silo, number, sites[silo])
        for reached in (("Ready", "Running"), ("Finished", "ModelKept")):
            for silo in SILOS:
                job.await_condition(silo, *reached)
        until(lambda: job.server_exit() is not None, "the server ends", job.server_log)
        assert job.server_exit() == 0

        rounds_told = records.read(tmp_path / "server/history.jsonl")
        assert [(told.round, told.attempt) for told in rounds_told] == [(n, 1) for n in range(1, ROUNDS + 1)]
        assert all(told.committed and told.counts["full"] == len(SILOS) for told in rounds_told)
        assert rounds_told[0].evaluate["accuracy"] < rounds_told[-1].evaluate["accuracy"] > 0.8

        for silo in SILOS:
            job.change(silo, desiredState="Finished")
            job.await_condition(silo, "Ready", "Finished")
            until(lambda s=silo: not queue(sites[s]) and not running(job.agents[s].state_dir), f"{silo} is idle")
        the_same_model_everywhere(job)


def join(job: Federation, silo: str, number: int, at: Site) -> None:
    shared = slurm_site(appPath=[str(MNIST)], environment={"OMP_NUM_THREADS": "1"})
    datasets = {f"mnist-{number}-of-{len(SILOS)}": {}}
    job.add(silo, {"datasets": datasets, **shared}, "--backend=slurm", environment={**at.environment, "PATH": PATH})


def queue(at: Site) -> str:
    return at.run("squeue", "--me", "--noheader")


def the_same_model_everywhere(job: Federation) -> None:
    files = [job.agents[silo].client_folder() / "state/model.safetensors" for silo in SILOS]
    for file in files:
        with safe_open(str(file), framework="numpy") as model:
            assert model.metadata()["round"] == str(ROUNDS)
    first, *rest = [load_file(file) for file in files]
    assert {array.shape for array in first.values()} >= {(8, 1, 5, 5), (16, 8, 5, 5), (10, 256)}
    for each in rest:
        assert each.keys() == first.keys()
        for name, array in first.items():
            np.testing.assert_array_equal(each[name], array)
