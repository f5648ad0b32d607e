"""The first process of a cluster's namespaces: it starts the components, obeys `kill` and `start`, and reaps.

Its own end is the end of everything in the cluster: the kernel kills what is in its process namespace, and the mounts
and interfaces go with theirs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import addons, forward, mounts, network, volumes
from .layout import Layout
from .node import Node, import_image, stored
from .plane import ControlPlane, Ports
from .processes import Components, until
from .tools import built

API_PORT = 6443


def run(layout: Layout, listener: socket.socket, ready: Callable[[], None]) -> None:
    """`listener` is the host's. Never returns."""
    mounts.prepare(layout)
    network.prepare(layout)
    cluster = Inside(layout)
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(layout.control))
    control.listen()
    cluster.start()
    forward.start(listener, layout.node_ip, API_PORT)
    volumes.start(cluster.plane.client, layout.folder / "volumes")
    ready()
    threading.Thread(target=reap, args=(cluster.components,), name="reap", daemon=True).start()
    obey(control, {"kill": cluster.kill, "start": cluster.start_one, "pid": cluster.pid})


class Inside:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        # Containers are found with a clean PATH too.
        path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
        self.components = Components(layout.folder / "logs", {"PATH": path, "TMPDIR": "/tmp"}, mortal=False)
        first_service = layout.services.replace(".0.0/16", ".0.1")
        self.plane = ControlPlane(
            layout.folder / "plane",
            self.components,
            layout.node_ip,
            [layout.node, first_service],
            Ports(api=API_PORT),
            services=layout.services,
            nodes=True,
        )
        self._node = Node(layout, self.components, self.plane.authority, self.plane.url)
        outside = f"https://127.0.0.1:{layout.port}"
        self.plane.authority.kubeconfig(layout.kubeconfig, outside, "umbel-cluster-admin", "system:masters")

    def start(self) -> None:
        self.components.start("containerd")
        self.plane.start()
        for name in ("controller-manager", "scheduler"):
            self.components.start(name)
        self._node.start_containerd()
        self.components.start("kubelet")
        self.components.start("kube-proxy")
        addons.add(self.plane.client, self._layout)
        import_image(self._layout, stored(addons.COREDNS, built("coredns") / "coredns"))
        self.plane.await_controllers()
        until(lambda: addons.ready(self.plane.client), "cluster DNS", 120)

    def kill(self, component: str, signum: int = signal.SIGKILL) -> None:
        self.components.stop(component, signum)

    def start_one(self, component: str) -> None:
        if component == "apiserver":
            self.plane.start_api()
        else:
            self.components.start(component)

    def pid(self, component: str) -> int:
        return self.components.running[component].pid


def obey(control: socket.socket, commands: dict[str, Callable[..., Any]]) -> None:
    """One JSON array a line, `["kill", "apiserver", 9]`, is answered when it is done."""
    while True:
        connection, _ = control.accept()
        with connection, connection.makefile("rw") as stream:
            try:
                name, *args = json.loads(stream.readline())
                answer = {"result": commands[name](*args)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            stream.write(json.dumps(answer) + "\n")


def reap(components: Components) -> None:
    """The first process of a namespace inherits every orphan: containers' shims among others."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            continue
        mine = next((process for process in components.running.values() if process.pid == ended.si_pid), None)
        if mine is not None:
            mine.poll()
        else:
            os.waitpid(ended.si_pid, 0)


def log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
