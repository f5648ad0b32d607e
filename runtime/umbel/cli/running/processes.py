"""Starting the processes of a run: their command lines, surroundings and logs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from umbel import lifeline
from umbel.cli.running.directory import RunDirectory
from umbel.cli.running.identities import Identities

# A process per silo shares the machine's cores: more threads each would only wait for one another, and a sum's
# order, hence its last bit, would depend on their number.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Commands:
    """The command lines of one run. ``client``: module:object."""

    run: RunDirectory
    identities: Identities
    client: str

    def server(self, port: int) -> list[str]:
        """``port`` 0: any."""
        run = self.run
        return [
            *("server", "--job", str(run.job), "--uid", run.facts.uid),
            *("--state", str(run.server_state), "--tls", str(run.server_tls)),
            *("--listen", f"grpcs://127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0"),
            *("--observer", self.identities.observer, "--endpoints", str(run.endpoints)),
            *("--path", run.facts.source),
        ]

    def silo(self, name: str, dataset: str, url: str) -> list[str]:
        directory, facts = self.run.silo(name), self.run.facts
        data, rules = facts.data.get(dataset), facts.eligibility.get(name)
        return [
            *("client", "--server", url, "--server-name", self.identities.server_name),
            *("--tls", str(directory / "tls"), "--state", str(directory / "state")),
            *("--client", self.client, "--silo", name, "--dataset", dataset),
            *(("--data", data) if data else ()),
            *(("--eligibility", rules) if rules else ()),
            *("--path", self.run.facts.source),
        ]


def environment() -> dict[str, str]:
    """What a child sees: one thread, few memory arenas, unbuffered logs, and whom it must not outlive."""
    alone = {**dict.fromkeys(ONE_THREAD, "1"), "MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **alone, lifeline.VARIABLE: str(os.getpid())}


async def start(arguments: Sequence[str], log: Path) -> asyncio.subprocess.Process:
    """Start one `umbel` command, its output appended to ``log``.

    In a process group of its own: Ctrl-C at a terminal reaches the supervisor only, which then ends everybody in
    order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "umbel", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
            process_group=0,
        )


def last_line(log: Path) -> str:
    """The last thing a process said, for the message about its end; empty when it said nothing."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line), "")
