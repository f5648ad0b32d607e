"""What one cluster is called and which addresses it has: two clusters of a machine share none."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from .tools import ClusterError, cache

MOST = 50


@dataclass(frozen=True)
class Layout:
    name: str
    number: int
    port: int  # of its API server on the host's loopback

    @property
    def folder(self) -> Path:
        return folder(self.name)

    @property
    def node(self) -> str:
        return f"umbel-{self.name}"

    @property
    def cgroup(self) -> str:
        return f"umbel-{self.name}"

    @property
    def node_ip(self) -> str:
        return f"10.99.0.{self.number}"

    @property
    def pods(self) -> str:
        return f"10.{100 + self.number}.0.0/24"

    @property
    def services(self) -> str:
        return f"10.{150 + self.number}.0.0/16"

    @property
    def dns(self) -> str:
        return f"10.{150 + self.number}.0.10"

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def control(self) -> Path:
        return self.folder / "control.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def kubeconfig_inside(self) -> Path:
        return self.folder / "plane/admin.kubeconfig"

    def save(self) -> None:
        self.folder.mkdir(mode=0o711, parents=True)
        (self.folder / "layout.json").write_text(json.dumps(asdict(self)))


def clusters() -> Path:
    return cache() / "clusters"


def failed(name: str) -> Path:
    """Where the logs of one that could not be started are kept, until the next such."""
    return cache() / "failed" / name


def folder(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise ClusterError(f"a cluster's name is made of a-z, 0-9 and -, at most 40 of them, not {name!r}")
    path = clusters() / name
    if len(f"{path}/containerd.sock.ttrpc") > 107:  # the longest path of a socket
        raise ClusterError(f"{path} is too long: a shorter UMBEL_CACHE or a shorter name")
    return path


def load(name: str) -> Layout | None:
    try:
        return Layout(**json.loads((folder(name) / "layout.json").read_text()))
    except FileNotFoundError:
        return None


def every() -> list[Layout]:
    found = [load(path.parent.name) for path in clusters().glob("*/layout.json")]
    return [layout for layout in found if layout]


def free_number() -> int:
    taken = {layout.number for layout in every()}
    for number in range(1, MOST):
        if number not in taken:
            return number
    raise ClusterError(f"there are {MOST - 1} clusters already: make cluster-down NAME=...")
