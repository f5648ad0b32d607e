"""Model volumes: what is on them, and how a file comes off one, when the server is long gone."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbel.cli.errors import CliError
from umbel_operator import names, restricted
from umbel_operator.exec import read
from umbel_operator.kube import POD, PVC, Kube

START_SECONDS = 120.0
LIFE_SECONDS = 3600  # of a reader whose command was killed
LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Volume:
    """``round`` None: the job has not ended Complete, and there is no final model."""

    name: str
    namespace: str
    job: str
    uid: str
    image: str
    finished: str
    round: int | None = None
    digest: str = ""
    path: str = ""


async def find(kube: Kube, namespace: str | None, job: str | None = None) -> list[Volume]:
    """Newest last. ``namespace`` None: all."""
    selector = f"{names.COMPONENT}=model" + (f",{names.JOB}={job}" if job else "")
    found = [_volume(item) for item in await kube.list(PVC, namespace, selector=selector)]
    return sorted(found, key=lambda volume: (volume.namespace, volume.job, volume.finished))


def _volume(item: dict[str, Any]) -> Volume:
    meta = item["metadata"]
    notes, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    model = json.loads(notes.get(names.MODEL) or "{}")
    return Volume(
        name=meta["name"],
        namespace=meta["namespace"],
        job=labels.get(names.JOB, ""),
        uid=labels.get(names.JOB_UID, ""),
        image=notes.get(names.IMAGE, ""),
        finished=notes.get(names.FINISHED, ""),
        round=model.get("round"),
        digest=model.get("digest", ""),
        path=model.get("path", ""),
    )


async def fetch(kube: Kube, volume: Volume, out: Path, image: str) -> None:
    """Copy the final model to ``out``: whole, with the digest that the server recorded, or not at all."""
    partial = out.with_name(f".{out.name}.part")
    digest = hashlib.sha256()
    try:
        async with _reader(kube, volume, image) as pod:
            with partial.open("wb") as file:
                async for block in read(kube, volume.namespace, pod, ["cat", f"/model/{volume.path}"]):
                    digest.update(block)
                    file.write(block)
        if volume.digest and f"sha256:{digest.hexdigest()}" != volume.digest:
            raise CliError(f"{volume.name}: the file's digest is not the recorded {volume.digest}; nothing was written")
        partial.replace(out)
    except OSError as error:
        raise CliError(f"--output {out}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _reader(kube: Kube, volume: Volume, image: str) -> AsyncIterator[str]:
    """A pod of the caller's own that has the volume, read-only, and goes when the file is read."""
    pod = _pod(volume, f"umbel-model-{secrets.token_hex(4)}", image)
    name = pod["metadata"]["name"]
    await kube.create(pod)
    try:
        await _running(kube, volume.namespace, name)
        yield name
    finally:
        await kube.delete(POD, name, volume.namespace, grace_seconds=0)


async def _running(kube: Kube, namespace: str, name: str) -> None:
    reason = "Pending"
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                status = ((await kube.get(POD, name, namespace)) or {}).get("status") or {}
                state = next((s.get("state") or {} for s in status.get("containerStatuses") or ()), {})
                if "running" in state:
                    return
                reason = (state.get("waiting") or {}).get("reason") or status.get("phase") or reason
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise CliError(f"the pod that reads the volume does not start ({reason}); try --image") from None


def _pod(volume: Volume, name: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": volume.namespace, "labels": {names.MANAGED_BY: "umbel"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFE_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": restricted.pod(),
            "containers": [
                {
                    "name": "reader",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", f"import time; time.sleep({LIFE_SECONDS})"],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "securityContext": restricted.container(),
                    "volumeMounts": [{"name": "model", "mountPath": "/model", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": volume.name}}],
        },
    }
