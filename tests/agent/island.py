"""Where compute nodes have no route out: a network namespace with one cable to the login node, and nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umbel_slurm.processes import program

PATIENCE = 20.0


class Island:
    """``host``: the login node's address on the cable."""

    def __init__(self, holder: int) -> None:
        self._holder = holder
        self._net = f"10.213.{holder % 254 + 1}"
        self.host, self._node = f"{self._net}.1", f"{self._net}.2"

    def wire(self) -> None:
        mine = f"umbel{self._holder}"
        _ip("link", "add", mine, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder))
        _ip("addr", "add", f"{self.host}/24", "dev", mine)
        _ip("link", "set", mine, "up")
        for command in (f"addr add {self._node}/24 dev eth0", "link set eth0 up", "link set lo up"):
            self.run(program("ip"), *command.split(), check=True)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.inside, *command], timeout=PATIENCE, **options)

    @property
    def inside(self) -> list[str]:
        return [program("nsenter"), f"--net=/proc/{self._holder}/ns/net", "--"]

    def python(self, path: Path) -> Path:
        """A program at ``path`` that is this python, there."""
        path.write_text(f'#!/bin/sh\nexec {" ".join(self.inside)} {sys.executable} "$@"\n')
        path.chmod(0o755)
        return path

    def reaches(self, host: str, port: int) -> bool:
        code = f"import socket; socket.create_connection(({host!r}, {port}), 5).close()"
        return self.run(sys.executable, "-c", code, capture_output=True).returncode == 0


@contextlib.contextmanager
def island() -> Iterator[Island]:
    """Root's alone. The cable goes with the namespace, and that with the process that holds it."""
    words = ["--pdeathsig", "KILL", "--", program("unshare"), "--net", "--", program("sleep"), "infinity"]
    holder = subprocess.Popen([program("setpriv"), *words])
    try:
        end = time.monotonic() + PATIENCE
        while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            assert time.monotonic() < end, "no network namespace of its own"
            time.sleep(0.05)
        found = Island(holder.pid)
        found.wire()
        yield found
    finally:
        holder.kill()
        holder.wait()


def _ip(*words: str) -> None:
    subprocess.run([program("ip"), *words], check=True, timeout=PATIENCE)
