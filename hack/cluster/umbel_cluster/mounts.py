"""A cluster's mount namespace: what kubelet, containerd and plugins write outside their own folders stays inside it.

Every mount goes with the namespace, so that nothing is left to unmount.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import linux
from .layout import Layout
from .tools import cache

# Paths that cannot be configured: /var/lib/kubelet/device-plugins, /var/lib/cni, /var/log/containers.
SHADOWED = [Path("/var/lib"), Path("/var/log")]


def prepare(own: Layout) -> None:
    root = Path("/")
    linux.mount("none", root, flags=linux.MS_REC | linux.MS_PRIVATE)
    kept = [(path, os.open(path, os.O_PATH)) for path in (cache().resolve(), Path(__file__).resolve().parents[3])]
    for number, folder in enumerate(SHADOWED):
        upper, work = own.folder / f"shadow/{number}", own.folder / f"shadow/{number}.work"
        upper.mkdir(parents=True)
        work.mkdir()
        linux.mount("overlay", folder, "overlay", data=f"lowerdir={folder},upperdir={upper},workdir={work}")
    linux.mount("tmpfs", Path("/run"), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    for path, handle in kept:
        if any(path.is_relative_to(hidden) for hidden in (*SHADOWED, Path("/run"))):
            path.mkdir(parents=True, exist_ok=True)
            linux.mount(f"/proc/self/fd/{handle}", path, flags=linux.MS_BIND | linux.MS_REC)
        os.close(handle)
    linux.mount("proc", Path("/proc"), "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("none", root, flags=linux.MS_REC | linux.MS_SHARED)  # kubelet passes mounts on to pods
