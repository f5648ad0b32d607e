"""Our images: client_image/ and control_image/ over the base image, and over the client's each example's Containerfile.

Built by buildah into OCI archives, kept by a hash of what they are made of.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import archives, base, pip
from .tools import CHECKOUT, ClusterError, cache, installed

VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
CLIENT = "registry.local/umbel:dev"
CONTROL = f"registry.local/umbel-control:{VERSION}"  # what the charts install, unless told otherwise
SOURCES = ["runtime", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"]
KEPT = 3


def client() -> Path:
    """The image that server and clients run."""
    return _own(CLIENT, "client_image", SOURCES)


def control() -> Path:
    """The image that the hub's operator and a silo's agent run."""
    return _own(CONTROL, "control_image", [*SOURCES, "operator"])


def _own(reference: str, folder: str, sources: list[str]) -> Path:
    made_of = [CHECKOUT / name for name in (folder, *sources)]
    with _building():
        return _archive(reference, CHECKOUT / folder / "Containerfile", CHECKOUT, made_of, base.archive())


def reference(folder: Path) -> str:
    return f"registry.local/umbel-{folder.resolve().name}:dev"


def example(folder: Path) -> Path:
    """FROM our image plus the code in `folder`, by its `reference`."""
    folder = folder.resolve()
    below = client()
    with _building():
        return _archive(reference(folder), folder / "Containerfile", folder, [folder], below)


def _archive(reference: str, containerfile: Path, context: Path, made_of: list[Path], below: Path) -> Path:
    key = _hash([Path(__file__), *made_of], below.name)
    name = reference.partition("/")[2].replace(":", "-")
    path = cache() / f"images/{name}-{key}.tar"
    if path.exists():
        os.utime(path)
        return path
    print(f"==> building {reference}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="umbel-image-") as temporary:
        workspace = Path(temporary)
        (workspace / "pip").mkdir()
        parent, _ = archives.named(below)
        _present(parent, below)
        _buildah(
            *("build", "--isolation=chroot", "--layers", "--pull-never", f"--build-arg=BASE={parent}"),
            *pip.volumes(workspace / "pip"),
            *(f"--tag={reference}", f"--file={containerfile}", str(context)),
        )
        _buildah("push", "--disable-compression", reference, f"oci:{workspace}/layout:it")
        archives.pack(path, reference, workspace / "layout")
    for old in sorted(path.parent.glob(f"{name}-*.tar"), key=os.path.getmtime)[:-KEPT]:
        old.unlink()
    return path


def _present(reference: str, archive: Path) -> None:
    """The image below is what FROM means by its name."""
    note = cache() / "buildah/present" / reference.replace("/", "_")
    if note.exists() and note.read_text() == archive.name:
        return
    pulled = _buildah("pull", "--quiet", f"oci-archive:{archive}").splitlines()[-1]
    _buildah("tag", pulled, reference)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(archive.name)


def _buildah(*args: str) -> str:
    storage = cache() / "buildah"
    own = ["--root", str(storage / "root"), "--runroot", str(storage / "run"), "--storage-driver", "overlay"]
    done = subprocess.run([installed("buildah"), *own, *args], capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ClusterError(f"buildah {args[0]} failed:\n{said}")
    return done.stdout.strip()


@contextlib.contextmanager
def _building() -> Iterator[None]:
    """One at a time: a second test process finds the first one's images."""
    (cache() / "images").mkdir(parents=True, exist_ok=True)
    with (cache() / "images/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(paths: Iterable[Path], *others: str) -> str:
    digest = hashlib.sha256(repr(others).encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(path.parent)}\0{file.stat().st_mode}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
