"""Components: processes with a name and a log each, which die with the process that started them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .tools import ClusterError, installed


def mortal(argv: list[str]) -> list[str]:
    """The command that is killed by the kernel when the thread that starts it ends, however it ends."""
    return [installed("setpriv"), "--pdeathsig", "KILL", "--", *argv]


def until(happened: Callable[[], bool], what: str, seconds: float = 60, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def free_port() -> int:
    """A port of loopback below the ephemeral ones, so that no connection takes it while its server is away."""
    while True:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Components:
    """What is started here; `commands` stay, so that what was killed can be started again."""

    logs: Path
    environment: dict[str, str] = field(default_factory=dict)
    mortal: bool = True  # the first process of a process namespace needs no help
    commands: dict[str, list[str]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        if self.alive(name):
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            command = self.commands[name]
            self.running[name] = subprocess.Popen(
                mortal(command) if self.mortal else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )

    def alive(self, name: str) -> bool:
        process = self.running.get(name)
        return process is not None and process.poll() is None

    def stop(self, name: str, signum: int = signal.SIGKILL, seconds: float = 20) -> None:
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

    def stop_all(self) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)

    def await_ready(self, name: str, ready: Callable[[], bool], seconds: float = 120) -> None:
        def settled() -> bool:
            if not self.alive(name):
                raise ClusterError(f"{name} ended while it started:\n{self.tail(name)}")
            return ready()

        until(settled, f"{name} ready", seconds)

    def tail(self, name: str, lines: int = 5) -> str:
        with contextlib.suppress(OSError):
            return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        return ""


@contextlib.contextmanager
def stopping(components: Components) -> Iterator[Components]:
    try:
        yield components
    finally:
        components.stop_all()
