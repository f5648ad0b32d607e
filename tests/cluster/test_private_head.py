"""What stays in a silo: the private part of a model, which survives there when its pod is moved, and the data."""

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
CLAIM, FOLDER = "scans-of-the-ward", "ct/in-2026"
STEPS = 10


def test_a_private_head_survives_its_pod_being_moved_and_data_stay_where_they_are(
    federation: Federation, troubled: str
) -> None:
    """The head counts the rounds it was trained in. A head begun anew, or trained twice in one round, counts wrong."""
    keep_data(federation.cluster_of(MOVED))
    dataset = {"digits-3-of-10": {"volumeClaim": CLAIM, "subPath": FOLDER}}
    with federation.sites({MOVED: {"datasets": dataset}}):
        heads(federation, troubled)


def heads(federation: Federation, troubled: str) -> None:
    app = {"image": troubled, "client": "client:app", "config": {"steps": STEPS}}
    # The one that is moved may send what it has; however little, that counts as a whole round of its work.
    rounds = {"total": ENDLESS, "quorum": len(SILOS), "timeoutSeconds": 300, "rescaleCap": STEPS}
    with federation.job("heads", app=app, rounds=rounds, model={"localParameters": ["head.*"]}) as job:
        job.until_round(3)
        before = job.client_pod(MOVED)
        federation.cluster_of(MOVED).kubectl("delete", "pod", before, "-n", MOVED, "--wait=false")
        job.until(lambda j: j.client_pod(MOVED) != before, "another pod")
        job.until_round(job.status["round"]["number"] + 3)
        data_stay_in_the_silo(job)
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


def keep_data(cluster: Cluster) -> None:
    """A volume of the silo's own, which everybody may write to but for how it is mounted."""
    folder = cluster.folder / "volumes" / CLAIM
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / "scan.txt").write_text("a scan")
    (folder / FOLDER / "scan.txt").chmod(0o666)
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [cluster.node]}
    local = {"local": {"path": str(folder)}, "persistentVolumeReclaimPolicy": "Retain"}
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}
    volume = {**shared, **local, **affinity, "capacity": {"storage": "1Mi"}}
    claim = {**shared, "volumeName": CLAIM, "resources": {"requests": {"storage": "1Mi"}}}
    for kind, spec, where in (("PersistentVolume", volume, {}), ("PersistentVolumeClaim", claim, {"namespace": MOVED})):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": CLAIM, **where}, "spec": spec}
        cluster.kubectl("apply", "-f", "-", input=json.dumps(body))


def data_stay_in_the_silo(job: Job) -> None:
    """Its client has read them, cannot write to them, and the hub knows no more of them than a name."""
    assert "a scan: Read-only file system" in job.client_log(MOVED)
    known = job.federation.hub.kubectl("get", "fj,fc,silo,lease,configmap,secret,event,pod", "-A", "-o", "json")
    assert "digits-3-of-10" in known
    assert CLAIM not in known
    assert FOLDER not in known


def state(job: Job, silo: str) -> Path:
    cluster = job.federation.cluster_of(silo)
    selector = f"umbel.dev/job-uid={job.uid},umbel.dev/silo={silo}"
    (claim,) = json.loads(cluster.kubectl("get", "pvc", "-n", silo, "-l", selector, "-o", "json"))["items"]
    return volume(cluster, silo, claim["metadata"]["name"])


def volume(cluster: Cluster, namespace: str, claim: str) -> Path:
    """Where the node keeps it."""
    name = cluster.kubectl("get", "pvc", claim, "-n", namespace, "-o", "jsonpath={.spec.volumeName}")
    return cluster.folder / "volumes" / name
