"""The same manifest that `umbel run` takes, over two clusters."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from .federation import ROOT, SILOS, UMBEL, Federation

pytestmark = pytest.mark.cluster

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def test_trains_to_complete_gives_the_laptops_model_and_leaves_nothing(federation: Federation, tmp_path: Path) -> None:
    with federation.job("digits") as job:
        job.until_complete()
        status = job.status
        assert status["round"]["progress"] == "30/30"
        assert status["silos"]["summary"] == "4/4"
        assert len(status["history"]) == 20
        assert {m["name"]: m["value"] for m in status["metrics"] if m["phase"] == "evaluate"}["accuracy"] > 0.9

        for silo in SILOS:
            job.until(lambda j, s=silo: j.model_kept(s), f"the final model in {silo}")
        job.until(lambda j: not _pods(federation, "digits"), "servers and clients scaled to zero")

        fetched = tmp_path / "model.safetensors"
        subprocess.run(
            [
                UMBEL,
                "model",
                "get",
                "digits",
                "--uid",
                job.uid,
                "-o",
                fetched,
                "--kubeconfig",
                federation.hub.kubeconfig,
            ],
            check=True,
        )
        assert f"sha256:{_sha256(fetched)}" == status["model"]["digest"] == _on_the_laptop(tmp_path)

        federation.hub.kubectl("delete", "fj", "digits", "--timeout=30s")
        job.until(lambda j: not _left(federation, "digits"), "nothing left", 30)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _on_the_laptop(folder: Path) -> str:
    """The digest of the same job's model under `umbel run`."""
    manifest = yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())
    manifest["spec"]["silos"] = manifest["spec"]["silos"][:4]
    for module in ("client.py", "data.py"):
        (folder / module).write_text((ROOT / "examples/digits" / module).read_text())
    (folder / "job.yaml").write_text(yaml.safe_dump(manifest))
    command = [UMBEL, "run", folder / "job.yaml", "--out", folder / "run", "--quiet"]
    subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD}, cwd=folder)
    return f"sha256:{_sha256(folder / 'run/model.safetensors')}"


def _pods(federation: Federation, job: str) -> list[str]:
    clusters = (federation.hub, federation.other)
    return [
        p for c in clusters for p in _named(c.kubectl("get", "pod", "-A", "-l", f"umbel.dev/job={job}", "-o", "json"))
    ]


def _left(federation: Federation, job: str) -> list[str]:
    """All that is there of a job, but for what is kept on purpose: the model's volume, the silos' states."""
    own = ("pod", "deployment", "statefulset", "service", "secret", "configmap", "networkpolicy", "serviceaccount")
    found = []
    for cluster, kinds in ((federation.hub, (*own, "fc")), (federation.other, own)):
        listed = cluster.kubectl("get", ",".join(kinds), "-A", "-l", f"umbel.dev/job={job}", "-o", "json")
        found += _named(listed)
    return found


def _named(listed: str) -> list[str]:
    return [f"{item['kind']} {item['metadata']['name']}" for item in json.loads(listed)["items"]]
