"""Container images without a builder: one layer, written as an OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(path: Path, reference: str, layer: Path, config: dict[str, Any]) -> Path:
    """`layer` is a plain tar of the root file system; `config` is what a Containerfile would say."""
    digest, size = _digest(layer), layer.stat().st_size
    image = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    media = "application/vnd.oci.image"
    described = json.dumps(image).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{media}.manifest.v1+json",
            "config": _descriptor(f"{media}.config.v1+json", described),
            "layers": [{"mediaType": f"{media}.layer.v1.tar", "digest": digest, "size": size}],
        }
    ).encode()
    named = _descriptor(f"{media}.manifest.v1+json", manifest) | {
        "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    }
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
        for blob in (described, manifest):
            _add(archive, _blob(_hash(blob)), blob)
        archive.add(layer, _blob(digest))
    unfinished.rename(path)
    return path


def of_program(path: Path, reference: str, program: Path) -> Path:
    """An image of one static program."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        info = tar.gettarinfo(program, program.name)
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755
        with program.open("rb") as content:
            tar.addfile(info, content)
    write(path, reference, layer, {"Entrypoint": [f"/{program.name}"], "User": "65534:65534"})
    layer.unlink()
    return path


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _hash(content), "size": len(content)}


def _hash(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
