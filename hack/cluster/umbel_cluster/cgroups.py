"""A cluster's control groups: a root in every hierarchy, and in it `system` and kubelet's `kubepods`.

Version 1 has a hierarchy for each controller, version 2 one for all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from .tools import ClusterError

V2 = Path("/sys/fs/cgroup/cgroup.controllers")


def hierarchies() -> list[Path]:
    if V2.exists():
        return [V2.parent]
    return _mounted("cgroup")


def traces(name: str) -> list[Path]:
    """Also in a second version's hierarchy beside the first's: runc makes them there."""
    return [path / name for path in _mounted("cgroup", "cgroup2") if (path / name).exists()]


def _mounted(*kinds: str) -> list[Path]:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(target) for _, target, kind, *_ in mounts if kind in kinds]


def create(name: str) -> None:
    for hierarchy in hierarchies():
        root = hierarchy / name
        if V2.exists():
            _delegate(hierarchy)
        for group in (root, root / "system"):
            group.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty at first, and nothing can run in it
                if not V2.exists() and (group / file).exists():
                    (group / file).write_text((group.parent / file).read_text())
        if V2.exists():
            _delegate(root)


def join(name: str) -> None:
    """From here on this process and what it starts is in the cluster's `system`."""
    for hierarchy in hierarchies():
        (hierarchy / name / "system/cgroup.procs").write_text("0")


def remove(name: str, seconds: float = 20) -> None:
    """Kill whatever is still in them, and remove them."""
    deadline = time.monotonic() + seconds
    for root in traces(name):
        while root.exists():
            for group in _bottom_up(root):
                _kill(group)
                with contextlib.suppress(OSError):
                    group.rmdir()
            if time.monotonic() > deadline:
                raise ClusterError(f"{root} cannot be removed: {sorted(_processes(root))} are still in it")
            time.sleep(0.02)


def _delegate(group: Path) -> None:
    available, given = ((group / file).read_text().split() for file in ("cgroup.controllers", "cgroup.subtree_control"))
    wanted = " ".join(f"+{controller}" for controller in available if controller not in given)
    try:
        (group / "cgroup.subtree_control").write_text(wanted)
    except OSError as error:
        raise ClusterError(
            f"{group}: its controllers cannot be given to a cluster's groups ({error.strerror})"
        ) from error


def _bottom_up(root: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(root, topdown=False):
        yield Path(path)


def _kill(group: Path) -> None:
    for pid in _members(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _members(group: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    return []


def _processes(root: Path) -> set[int]:
    return {pid for group in _bottom_up(root) for pid in _members(group)}


def of_container(name: str, container: str) -> list[int]:
    """The processes of one container, by the numbers the host knows them by."""
    for hierarchy in hierarchies():
        root = hierarchy / name / "kubepods"
        if V2.exists() or hierarchy.name == "pids":
            return [pid for group in _bottom_up(root) if group.name == container for pid in _members(group)]
    return []
