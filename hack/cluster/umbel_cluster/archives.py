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
CONTAINERD_NAME = "io.containerd.image.name"


def write(path: Path, reference: str, layer: Path, config: dict[str, Any]) -> Path:
    """`layer` is a plain tar of the root file system; `config` is what a Containerfile would say."""
    digest, size = _digest(layer), layer.stat().st_size
    image = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created_by": reference}],  # buildah counts layers by it
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
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _index(_descriptor(f"{media}.manifest.v1+json", manifest), reference))
        for blob in (described, manifest):
            _add(archive, _blob(_hash(blob)), blob)
        archive.add(layer, _blob(digest))
    unfinished.rename(path)
    return path


def pack(path: Path, reference: str, folder: Path) -> Path:
    """The archive of an OCI layout with one image, which gets the name that containerd knows it by."""
    (descriptor,) = json.loads((folder / "index.json").read_text())["manifests"]
    (folder / "index.json").write_bytes(_index(descriptor, reference))
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as archive:
        for name in ("oci-layout", "index.json", "blobs"):
            archive.add(folder / name, name)
    unfinished.rename(path)
    return path


def named(path: Path) -> tuple[str, str]:
    """The reference of an archive's image, and the same by digest."""
    with tarfile.open(path) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        (descriptor,) = json.load(index)["manifests"]
    reference: str = descriptor["annotations"][CONTAINERD_NAME]
    return reference, f"{reference.rpartition(':')[0]}@{descriptor['digest']}"


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


def _index(descriptor: dict[str, Any], reference: str) -> bytes:
    annotations = {CONTAINERD_NAME: reference, "org.opencontainers.image.ref.name": reference}
    return json.dumps({"schemaVersion": 2, "manifests": [descriptor | {"annotations": annotations}]}).encode()


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
