"""The provisioner behind the default StorageClass: a folder of the node for every claim, as a `local` volume.

`local`, not `hostPath`: kubelet gives its files to a pod's fsGroup.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .rest import Client

PROVISIONER = "umbel.dev/folder"
CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}
VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/persistentvolumeclaims"


def start(client: Client, folder: Path) -> None:
    folder.mkdir()

    def provide(claim: dict[str, Any]) -> None:
        if volume := wanted(claim, folder):
            place = Path(volume["spec"]["local"]["path"])
            place.mkdir(exist_ok=True)
            place.chmod(0o777)
            client.request("POST", VOLUMES, volume)

    def reclaim(volume: dict[str, Any]) -> None:
        if released(volume):
            shutil.rmtree(volume["spec"]["local"]["path"], ignore_errors=True)
            client.request("DELETE", f"{VOLUMES}/{volume['metadata']['name']}")

    for path, act in (CLAIMS, provide), (VOLUMES, reclaim):
        threading.Thread(target=_for_ever, args=(client, path, act), name=path, daemon=True).start()


def wanted(claim: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The volume that a claim still waits for, once the scheduler has chosen its pod's node."""
    meta, spec = claim["metadata"], claim["spec"]
    node = meta.get("annotations", {}).get("volume.kubernetes.io/selected-node")
    if spec.get("storageClassName") != CLASS["metadata"]["name"] or spec.get("volumeName") or not node:  # type: ignore[index]
        return None
    name = f"pvc-{meta['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": spec["resources"]["requests"],
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
            "claimRef": {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [_on(node)]}]}},
        },
    }


def released(volume: dict[str, Any]) -> bool:
    ours = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
    return ours and volume.get("status", {}).get("phase") == "Released" and _deletes(volume)


def _deletes(volume: dict[str, Any]) -> bool:
    return bool(volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete")


def _on(node: str) -> dict[str, Any]:
    return {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}


def _for_ever(client: Client, path: str, act: Callable[[dict[str, Any]], None]) -> None:
    while True:
        for found in client.follow(path):
            act(found)
        time.sleep(0.5)  # the API server is away
