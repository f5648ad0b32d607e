"""The image that ours are built from where no registry can be reached: a minimal Debian with Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import archives
from .tools import ClusterError, cache, installed

RECIPE = 2  # one more whenever `_make` makes it otherwise
REFERENCE = "registry.local/umbel-base:bookworm"
SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
# Nothing of it is needed to run Python, and it is half of the image.
LEFT_OUT = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
]
# Where pip looks for configuration: a build mounts the host's there, see pip.py.
PIP = "etc/xdg/pip"


def archive() -> Path:
    """Made once per machine and recipe."""
    recipe = hashlib.sha256(repr((RECIPE, SUITE, PACKAGES, LEFT_OUT)).encode()).hexdigest()[:16]
    path = cache() / f"images/base-{recipe}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="base-") as folder:
            _make(Path(folder), path)
    return path


def _make(folder: Path, path: Path) -> None:
    root, layer = folder / "root", folder / "layer.tar"
    mirror = os.environ.get("UMBEL_DEBIAN_MIRROR", "")
    debootstrap = [installed("debootstrap"), "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    # Its mounts stay in a namespace, and so go in any case.
    unshare = [installed("unshare"), "--mount", "--propagation", "private", "--"]
    log = folder / "log"
    with log.open("w") as output:
        command = [*unshare, *debootstrap, *([mirror] if mirror else [])]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode:
            raise ClusterError("debootstrap failed:\n" + "\n".join(log.read_text().splitlines()[-15:]))
    for name in LEFT_OUT:
        shutil.rmtree(root / name)
        (root / name).mkdir()
    for leftover in (*(root / "var/cache/apt").glob("*.bin"), *(root / "var/log").glob("*.log")):
        leftover.unlink()
    for of_this_machine in ("etc/resolv.conf", "etc/hostname", *(["etc/apt/sources.list"] if mirror else [])):
        (root / of_this_machine).unlink(missing_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
    (root / PIP).mkdir(parents=True)
    tar = ["tar", "--create", "--numeric-owner", "--one-file-system", "--exclude=./dev/*", f"--directory={root}"]
    subprocess.run([*tar, f"--file={layer}", "."], check=True)
    archives.write(path, REFERENCE, layer, {"Cmd": ["python3"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})
