"""A cluster as its users hold it: `up`, `down`, and what can be done with one in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import cgroups, layout, network, plane, supervisor
from .layout import Layout
from .node import ctr, import_image
from .pki import Authority
from .processes import free_port, mortal, until
from .tools import ClusterError, built


class Cluster:
    def __init__(self, of: Layout) -> None:
        self._layout = of
        self.name = of.name
        self.folder = of.folder
        self.node = of.node
        self.node_ip = of.node_ip
        self.kubeconfig = of.kubeconfig  # from the host
        self.kubeconfig_inside = of.kubeconfig_inside  # from the cluster's network, and that of every other cluster
        self.client = plane.administrator(Authority(of.folder / "plane/pki"), "127.0.0.1", of.port)
        self._first = int((of.folder / "first.pid").read_text())

    def kubectl(self, *args: str, input: str | None = None, seconds: float = 120) -> str:
        return plane.kubectl(self.kubeconfig, *args, input=input, seconds=seconds)

    def inside(self, argv: list[str]) -> list[str]:
        """The command, run in the cluster's network: it reaches pods, Services and NodePorts."""
        return network.enter(self._first, argv)

    def popen(self, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        """A process in the cluster's network, which dies with the thread that calls this."""
        return subprocess.Popen(self.inside(mortal([str(arg) for arg in argv])), **options)

    def kill(self, component: str, signum: int = signal.SIGKILL) -> None:
        """One of the names in the folder `logs`; returns when it is gone."""
        self._ask("kill", component, signum)

    def start(self, component: str) -> None:
        """Returns when the API server is ready, if it is that; else at once."""
        self._ask("start", component)

    def ctr(self, *args: str) -> str:
        done = subprocess.run(ctr(self._layout, *args), capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"ctr {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def import_image(self, archive: Path) -> None:
        import_image(self._layout, archive)

    def processes(self, namespace: str, pod: str, container: str | None = None) -> list[int]:
        """The processes of a pod's container (its first, if not named), as the host numbers them."""
        found = json.loads(self.kubectl("get", "pod", pod, "-n", namespace, "-o", "json"))
        for status in found["status"].get("containerStatuses", []):
            if container in (None, status["name"]) and status.get("containerID"):
                return cgroups.of_container(self._layout.cgroup, status["containerID"].partition("://")[2])
        return []

    def _ask(self, *command: object) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._layout.control))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(command) + "\n")
                stream.flush()
                answer = json.loads(stream.readline() or '{"error": "the cluster is gone"}')
        if "error" in answer:
            raise ClusterError(answer["error"])
        return answer["result"]


def up(name: str, *, mortal: bool = False) -> Cluster:
    """A cluster, ready; the one that runs already, if it does. A mortal one ends with the thread that calls this."""
    if os.geteuid() != 0:
        raise ClusterError("a Kubernetes node needs root: sudo make cluster")
    for needed in ("kubernetes", "coredns", "pause"):
        built(needed)
    with supervisor.locked():
        found = layout.load(name)
        own = found if found and supervisor.alive(found) else _new(name)
        reading, process = (None, None) if own is found else _supervised(own, mortal)
    if reading is None or process is None:
        until(lambda: (own.folder / "ready").exists() or not supervisor.alive(own), f"{name} ready", 180)
        return Cluster(own)
    with os.fdopen(reading) as answer:
        said = json.loads(answer.readline() or '{"error": "its supervisor ended"}')
    if "error" in said:
        down(name)
        raise ClusterError(f"{name} cannot be started: {said['error']}\nlogs: {layout.failed(name)}")
    process.returncode = 0  # it outlives this process; Python need not mourn
    return Cluster(own)


def _new(name: str) -> Layout:
    """In the place of every cluster whose supervisor was killed."""
    for dead in layout.every():
        if not supervisor.alive(dead):
            _remove(dead.name)
    _remove(name)
    own = Layout(name, layout.free_number(), free_port())
    own.save()
    return own


def _supervised(own: Layout, mortal: bool) -> tuple[int, subprocess.Popen[bytes]]:
    """Its supervisor, started, and where it will answer."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "umbel_cluster", "serve", own.name, str(writing), *(["--mortal"] if mortal else [])],
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[writing],
    )
    os.close(writing)
    until(lambda: supervisor.alive(own) or process.poll() is not None, f"{own.name}'s supervisor", 20)
    return reading, process


def down(name: str) -> bool:
    """Remove every trace; whether there was any."""
    found, there = layout.load(name), layout.folder(name).exists()
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if found and supervisor.alive(found):
            os.kill(int((found.folder / "supervisor.pid").read_text()), signal.SIGTERM)
            until(lambda: not supervisor.alive(found), f"the end of {name}", 60)
    _remove(name)
    return there


def _remove(name: str) -> None:
    """What a supervisor leaves that was killed before it could clean up. The kernel has ended what ran."""
    cgroups.remove(f"umbel-{name}")
    shutil.rmtree(layout.folder(name), ignore_errors=True)
