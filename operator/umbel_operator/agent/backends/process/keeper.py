"""Starting a client under a small shell that notes its exit status, also while no agent is there, and ending it.

The shell leads a session of its own. It writes down first who it is, and last how the client ended; its command line
carries the attempt's token. So an agent that comes later finds it, and cannot take a stranger for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from umbel_operator.agent.backends.local.directory import LOG, STATE, remove
from umbel_operator.agent.backends.process import table
from umbel_operator.agent.backends.process.table import Entry

PID, EXIT = "pid", "exit"

# TERM comes to the whole session: the shell outlives it to note how the client took it. The trap is not inherited.
SHELL = """trap : TERM INT HUP
cat /proc/sys/kernel/random/boot_id /proc/$$/stat >"$1/pid.new" && mv "$1/pid.new" "$1/pid"
folder=$1
shift
"$@"
code=$?
echo $code >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
"""


@dataclass(frozen=True, slots=True)
class Exit:
    """``code``: as a shell says it, 128 and more for a signal."""

    code: int
    at: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen of an attempt. ``leader``: its shell is alive. ``alive``: it is, or anybody of its session.
    ``exit``: how it ended, if anybody could note it."""

    leader: bool = False
    alive: bool = False
    exit: Exit | None = None


def look(folder: Path, token: str) -> Sight:
    """Raises OSError."""
    leader = _leader(folder, token)
    there = leader is not None and table.is_alive(leader)
    left = leader is not None and not there and bool(table.session_of(leader))
    return Sight(there, there or left, _exit(folder))


def glance(folder: Path, token: str) -> object:
    """What changes when the client starts or ends; cheap enough for every second."""
    leader = _leader(folder, token)
    return leader is not None and table.is_alive(leader), _exit(folder)


def prepare(folder: Path) -> None:
    """What the attempt before noted is not of the next."""
    remove(folder, (PID, EXIT))


def start(folder: Path, token: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Raises OSError. The caller waits for it now and then, lest it stay a zombie."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", SHELL, marker(token), str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder / STATE,
            env=dict(environment),
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(log)


def end(folder: Path, token: str, number: signal.Signals) -> None:
    """Send it to everybody of the session, looked up anew."""
    leader = _leader(folder, token)
    for pid in table.session_of(leader) if leader is not None else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def marker(token: str) -> str:
    return f"umbel-client-{token}"


def _leader(folder: Path, token: str) -> Entry | None:
    """Who leads the session, dead or alive. What an attempt has not written down yet, its command line says."""
    try:
        boot, _, stat = (folder / PID).read_text().partition("\n")
    except FileNotFoundError:
        carries = (found for found in table.everybody() if marker(token) in table.command(found.pid))
        return next((found for found in carries if found.session == found.pid), None)
    return table.parse(stat) if boot == table.boot() else None


def _exit(folder: Path) -> Exit | None:
    try:
        path = folder / EXIT
        return Exit(int(path.read_text()), path.stat().st_mtime)
    except (FileNotFoundError, ValueError):
        return None
