"""What stays in a silo survives there: the private part of a model, when its pod is moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from umbel_cluster.cluster import Cluster

from .federation import SILOS, Federation, Job
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

MOVED = "silo-3"


def test_a_private_head_survives_its_pod_being_moved(federation: Federation, troubled: str) -> None:
    """The head counts the rounds it was trained in. A head begun anew, or trained twice in one round, counts wrong."""
    app = {"image": troubled, "client": "client:app", "config": {}}
    rounds = {"total": ENDLESS, "quorum": len(SILOS), "timeoutSeconds": 300}
    with federation.job("heads", app=app, rounds=rounds, model={"localParameters": ["head.*"]}) as job:
        job.until_round(3)
        before = job.client_pod(MOVED)
        federation.cluster_of(MOVED).kubectl("delete", "pod", before, "-n", MOVED, "--wait=false")
        job.until(lambda j: j.client_pod(MOVED) != before, "another pod")
        job.until_round(job.status["round"]["number"] + 3)
        job.patch(rounds={"total": 1})
        job.until_complete()
        trained = job.status["round"]["number"]
        for silo in SILOS:
            job.until(lambda j, s=silo: j.model_kept(s), f"the final model in {silo}")
            model = load_file(state(job, silo) / "model.safetensors")
            assert model["head.rounds"] == [trained], f"its private part, in {silo}"
            assert model["body.weight"].mean() == pytest.approx(trained, rel=1e-3), "and the shared one"
        told = job.status["model"]
        at_the_hub = volume(federation.hub, "default", told["volume"]) / told["path"]
        assert load_file(at_the_hub).keys() == {"body.weight"}, "no private part has left its silo"


def state(job: Job, silo: str) -> Path:
    cluster = job.federation.cluster_of(silo)
    selector = f"umbel.dev/job-uid={job.uid},umbel.dev/silo={silo}"
    (claim,) = json.loads(cluster.kubectl("get", "pvc", "-n", silo, "-l", selector, "-o", "json"))["items"]
    return volume(cluster, silo, claim["metadata"]["name"])


def volume(cluster: Cluster, namespace: str, claim: str) -> Path:
    """Where the node keeps it."""
    name = cluster.kubectl("get", "pvc", claim, "-n", namespace, "-o", "jsonpath={.spec.volumeName}")
    return cluster.folder / "volumes" / name
