"""The process that a cluster lives and dies with, outside its namespaces.

However it is asked to end, or if the process it serves dies, it takes the cluster with it and removes what is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from . import cgroups, inside, layout, linux, network
from .layout import Layout
from .tools import ClusterError


def serve(own: Layout, answer: int, *, mortal: bool) -> NoReturn:
    """Start the cluster; one JSON line to the descriptor `answer` when it is ready or cannot be."""
    if mortal:
        linux.die_with_parent(signal.SIGTERM)
    lock = os.open(own.folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (own.folder / "supervisor.pid").write_text(str(os.getpid()))
    inside.log_to(own.folder / "logs/supervisor.log")
    listener = socket.create_server(("127.0.0.1", own.port), reuse_port=False)
    told, tell = os.pipe()
    network.load_modules()
    cgroups.create(own.cgroup)
    # The next child is the first process of a namespace.
    linux.unshare(linux.CLONE_NEWPID)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    first = os.fork()
    if first == 0:
        os.close(lock)
        os.close(told)
        os.close(answer)
        _inside(own, listener, tell)
    linux.forget_process_namespace()
    os.close(tell)
    listener.close()
    (own.folder / "first.pid").write_text(str(first))
    if not _report(own, first, told, answer):
        _keep_logs(own)
    _until_end(first)
    _remove(own)
    os._exit(0)


ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def _inside(own: Layout, listener: socket.socket, tell: int) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        linux.die_with_parent(signal.SIGKILL)
        cgroups.join(own.cgroup)
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET)
        inside.run(own, listener, lambda: _tell(tell, {"ready": True}))
    except BaseException as error:
        traceback.print_exc()
        _tell(tell, {"error": f"{type(error).__name__}: {error}"})
    os._exit(1)


def _report(own: Layout, first: int, told: int, answer: int) -> bool:
    """Pass on what the inside says, with the cables to the other clusters laid."""
    with os.fdopen(told) as stream:
        line = stream.readline() or '{"error": "the first process ended"}'
    ready = "ready" in json.loads(line)
    if ready:
        with locked():
            for other, pid in running():
                if other != own:
                    _connect(own, first, other, pid)
            (own.folder / "ready").touch()
    with contextlib.suppress(BrokenPipeError):
        _tell(answer, json.loads(line))
    return ready


def _connect(own: Layout, first: int, other: Layout, pid: int) -> None:
    try:
        network.connect(own, first, other, pid)
    except ClusterError:
        if network.has(pid):  # or it ended meanwhile
            raise


def _until_end(first: int) -> None:
    while True:
        if signal.sigwait(ENDING) == signal.SIGCHLD:
            if os.waitpid(first, os.WNOHANG) != (0, 0):
                return
            continue
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)  # returns when nothing is left in its namespace
        return


def _keep_logs(own: Layout) -> None:
    shutil.rmtree(layout.failed(own.name), ignore_errors=True)
    shutil.copytree(own.folder / "logs", layout.failed(own.name))


def _remove(own: Layout) -> None:
    cgroups.remove(own.cgroup)
    shutil.rmtree(own.folder)


def _tell(descriptor: int, what: dict[str, object]) -> None:
    os.write(descriptor, json.dumps(what).encode() + b"\n")
    os.close(descriptor)


def alive(of: Layout) -> bool:
    """Whether a supervisor holds the cluster, be it ready or not."""
    try:
        descriptor = os.open(of.folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def running() -> list[tuple[Layout, int]]:
    """The clusters that are ready, each with the process that holds its namespaces."""
    found = [each for each in layout.every() if (each.folder / "ready").exists() and alive(each)]
    return [(each, int((each.folder / "first.pid").read_text())) for each in found]


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Clusters are named, numbered and connected one after another."""
    layout.clusters().mkdir(parents=True, exist_ok=True)
    with Path(layout.clusters() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(name: str, answer: int, *, mortal: bool) -> NoReturn:
    own = layout.load(name)
    assert own is not None
    try:
        serve(own, answer, mortal=mortal)
    except BaseException as error:
        traceback.print_exc()
        _keep_logs(own)
        _tell(answer, {"error": f"{type(error).__name__}: {error}"})
        _remove(own)
    sys.exit(1)
