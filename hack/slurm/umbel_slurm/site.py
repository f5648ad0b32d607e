"""A site as its users hold it: `running`, and what can be done with one in between."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import accounting
from .accounting import ACCOUNTING, DATABASE
from .config import Layout, gres_conf, slurm_conf
from .processes import PATH, Daemons, SlurmError, descendants, free_ports, is_alive, kill, marked, program, until

CONTROLLER = "slurmctld"
MUNGE = "munged"


class Site:
    """``name``: short; ``nodes``: how many slurmd; ``within``: words before every command, for a site in a network
    namespace of its own. They have to become the command itself, as `nsenter` does. ``accounting``: it has some.
    ``more``: of the layout."""

    def __init__(
        self, name: str, nodes: int = 1, *, within: Sequence[str] = (), accounting: bool = False, **more: Any
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"umbel-slurm-{name}-"))
        controller, storage, database, *others = free_ports(3 + nodes)
        host = socket.gethostname().partition(".")[0]
        cluster = f"umbel-{name}-{secrets.token_hex(4)}"
        ports = (storage, database) if accounting else None
        user = getpass.getuser()
        self.layout = Layout(cluster, self.folder, user, host, controller, others, accounting=ports, **more)
        self.nodes = self.layout.nodes
        self._services = (MUNGE, *((DATABASE, ACCOUNTING) if accounting else ()), CONTROLLER)
        self.environment: Mapping[str, str] = {"SLURM_CONF": str(self.layout.conf)}
        self._mark = cluster.upper().replace("-", "_")
        self._within = list(within)
        self._daemons = Daemons(self.folder / "log", self._commands(), self.environment, self._mark, self._within)

    def start(self) -> None:
        """Returns when every node is idle."""
        self._prepare()
        for name in (*self._services, *self.nodes):
            self.start_daemon(name)
        self.await_nodes(*self.nodes)

    def stop(self) -> None:
        """Ends everything that runs there, by id, and removes the folder."""
        try:
            for name in (*self.nodes, CONTROLLER):
                self._daemons.stop(name, signal.SIGKILL)
            until(self._nothing_left, f"the end of what runs in {self.layout.cluster}", 60)
            for name in self._services:
                self._daemons.stop(name, signal.SIGKILL)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- faults

    def start_daemon(self, name: str) -> None:
        """One of the services, or a node. Returns when it answers; a node, when it is started."""
        self._daemons.start(name)
        if name == MUNGE:
            self._settle(name, self.layout.munge_socket.exists)
        if name == DATABASE:
            self._settle(name, accounting.socket(self.layout).exists)
        if name == ACCOUNTING:
            self._settle(name, self.remembers)
        if name == CONTROLLER:
            self._settle(name, self.answers)

    def stop_daemon(self, name: str, signum: int = signal.SIGTERM) -> None:
        """The daemon alone; the jobs' processes go on."""
        self._daemons.stop(name, signum)

    def lose_node(self, node: str) -> None:
        """As a power cut does it: the daemon and all that it runs, at once."""
        process = self._daemons.running[node]
        steps = marked(f"{self._mark}={node}") - {process.pid}
        kill(descendants({process.pid, *steps}))
        process.wait()
        until(lambda: not any(is_alive(pid) for pid in steps), f"the end of {node}")

    # ---- commands

    def run(self, command: str, *arguments: str, input: str | None = None) -> str:
        """What it prints. Raises SlurmError."""
        done = subprocess.run(
            [*self._within, program(command), *arguments],
            input=input,
            capture_output=True,
            text=True,
            env={"PATH": PATH, **self.environment},
            timeout=60,
        )
        if done.returncode:
            raise SlurmError(f"{command} {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def answers(self) -> bool:
        with contextlib.suppress(SlurmError):
            return "is UP" in self.run("scontrol", "ping")
        return False

    def remembers(self) -> bool:
        """Whether the accounting answers, which knows this cluster then."""
        with contextlib.suppress(SlurmError):
            self.run("sacctmgr", "--immediate", "--quiet", "add", "cluster", self.layout.cluster)
        with contextlib.suppress(SlurmError):
            return self.layout.cluster in self.run("sacctmgr", "--noheader", "list", "cluster", "format=cluster%40")
        return False

    def await_nodes(self, *nodes: str, state: str = "idle") -> None:
        def settled() -> bool:
            found = self.run("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
            return {f"{node} {state}" for node in nodes} <= set(found)

        until(settled, f"{', '.join(nodes)} {state} ({self._daemons.tail(CONTROLLER, 3)})")

    def processes(self, job: str) -> list[int]:
        """Of a job's steps, as long as they live: all that was started with its id in the environment."""
        ours = marked(f"SLURM_CLUSTER_NAME={self.layout.cluster}")
        return sorted(ours & marked(f"SLURM_JOB_ID={job}"))

    # ---- pieces

    def _commands(self) -> dict[str, list[str]]:
        folder, conf = self.folder, str(self.layout.conf)
        storage = accounting.commands(self.layout) if self.layout.accounting is not None else {}
        munge = {
            "key-file": folder / "munge/munge.key",
            "socket": self.layout.munge_socket,
            "pid-file": folder / "munge/munged.pid",
            "log-file": folder / "munge/munged.log",
            "seed-file": folder / "munge/munged.seed",
        }
        return {
            MUNGE: [
                program("munged"),
                "--foreground",
                "--force",
                "--num-threads=2",
                *(f"--{name}={value}" for name, value in munge.items()),
            ],
            **storage,
            CONTROLLER: [program("slurmctld"), "-D", "-f", conf],
            **{node: [program("slurmd"), "-D", "-f", conf, "-N", node] for node in self.layout.nodes},
        }

    def _prepare(self) -> None:
        self.folder.chmod(0o711)  # for the munge socket
        for name in ("log", "state", "munge", *(f"spool-{node}" for node in self.nodes)):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o700)
        key = self.folder / "munge/munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        self.layout.conf.write_text(slurm_conf(self.layout))
        (self.folder / "gres.conf").write_text(gres_conf(self.layout))
        if self.layout.accounting is not None:
            accounting.prepare(self.layout)

    def _settle(self, name: str, ready: Callable[[], bool]) -> None:
        def settled() -> bool:
            if not self._daemons.alive(name):
                raise SlurmError(f"{name} ended while it started:\n{self._daemons.tail(name)}")
            return ready()

        until(settled, f"{name} ready")

    def _nothing_left(self) -> bool:
        """Kills what is there; whether it was nothing. A slurmstepd has the environment of its slurmd."""
        daemons = {process.pid for process in self._daemons.running.values()}
        started = {pid for name in (CONTROLLER, *self.nodes) for pid in marked(f"{self._mark}={name}")} - daemons
        left = descendants(started) | marked(f"SLURM_CLUSTER_NAME={self.layout.cluster}")
        left = {pid for pid in left if is_alive(pid)}
        kill(left)
        return not left


@contextlib.contextmanager
def running(name: str, nodes: int = 1, **how: Any) -> Iterator[Site]:
    """``how``: as `Site` takes it."""
    site = Site(name, nodes, **how)
    try:
        site.start()
        yield site
    finally:
        site.stop()
