"""Daemons: each with a name and a log, and killed by the kernel when the thread that started it ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class SlurmError(Exception):
    """A site that does not do as it should; the message has the end of the log."""


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SlurmError(f"{name} is not installed: hack/setup slurm")
    return found


def until(happened: Callable[[], bool], what: str, seconds: float = 120, every: float = 0.1) -> None:
    """A look may be a program's start: no more than half of the time goes into looking."""
    deadline = (looked := time.monotonic()) + seconds
    while not happened():
        if (now := time.monotonic()) > deadline:
            raise SlurmError(f"{what}: not within {seconds:.0f} s")
        time.sleep(max(every, now - looked))
        looked = time.monotonic()


def free_ports(count: int) -> list[int]:
    """Ports of loopback below the ephemeral ones, so that no connection takes one while its daemon is away."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def marked(mark: str) -> set[int]:
    """The processes with ``mark``, a NAME=value, in the environment that they were started with."""
    found = set()
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                found.add(int(path.name))
    return found - {os.getpid()}


def descendants(of: Collection[int]) -> set[int]:
    children: dict[int, set[int]] = {}
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, set()).add(int(path.name))
    found, todo = set(of), list(of)
    while todo:
        for child in children.get(todo.pop(), set()) - found:
            found.add(child)
            todo.append(child)
    return found


def kill(pids: Collection[int], signum: int = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@dataclass
class Daemons:
    """What a site runs; the commands stay, so that what was killed can be started again. Each, and what it starts,
    has ``variable=name`` in its environment."""

    logs: Path
    commands: Mapping[str, list[str]]
    environment: Mapping[str, str]
    variable: str
    within: Sequence[str] = ()  # words before every command, which become the command
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        if self.alive(name):
            return
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*self.within, program("setpriv"), "--pdeathsig", "KILL", "--", *self.commands[name]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH, **self.environment, self.variable: name},
                cwd="/",
                start_new_session=True,
            )

    def alive(self, name: str) -> bool:
        process = self.running.get(name)
        return process is not None and process.poll() is None

    def stop(self, name: str, signum: int = signal.SIGTERM, seconds: float = 20) -> None:
        """Waits for its end; one that does not heed the signal is killed."""
        process = self.running.get(name)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signum)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self, name: str, lines: int = 8) -> str:
        with contextlib.suppress(OSError):
            return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        return ""
