"""The same manifest that `umbel run` takes, over two clusters."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from .federation import GONE_SECONDS, ROOT, SILOS, UMBEL, Federation, Object

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
        job.until(lambda j: not _pods(federation), "servers and clients scaled to zero")

        assert status["model"]["digest"] == _on_the_laptop(tmp_path)
        uid = job.uid
        federation.hub.kubectl("delete", "fj", "digits", "--wait=false")
        job.until(lambda j: not federation.left("digits"), "nothing left", GONE_SECONDS)
    _model_outlives_the_job(federation, uid, status["model"], tmp_path / "model.safetensors")


def _model_outlives_the_job(federation: Federation, uid: str, told: Object, out: Path) -> None:
    """Until it is removed: what `umbel model` does with it, there being no FederatedJob any more."""
    (listed,) = (line for line in federation.umbel("model", "ls", "-A").splitlines() if told["volume"] in line)
    assert listed.split()[:4] == ["default", "digits", uid[:8], str(told["round"])]
    assert told["digest"].startswith(listed.split()[5])
    assert told["digest"] in federation.umbel("model", "get", "digits", "--uid", uid, "-o", out)
    assert told["digest"] == f"sha256:{_sha256(out)}"
    federation.umbel("model", "rm", "digits", "--uid", uid)
    federation.hub.kubectl("wait", "--for=delete", f"pvc/{told['volume']}", "--timeout=60s")
    assert told["volume"] not in federation.umbel("model", "ls", "-A")


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


def _pods(federation: Federation) -> list[str]:
    return [each for each in federation.left("digits") if " Pod " in each]
