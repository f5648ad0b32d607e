"""The machine's processes, from Linux' /proc: who is alive, and whether a number still means the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Entry:
    """``start``: in clock ticks since the machine started. With the number it tells a process from every other."""

    pid: int
    state: str
    session: int
    start: int


def parse(stat: str) -> Entry | None:
    """A line of /proc/PID/stat. The name in parentheses may hold anything."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    try:
        return Entry(int(head.split(" ", 1)[0]), fields[0], int(fields[3]), int(fields[19]))
    except (IndexError, ValueError):
        return None


def entry(pid: int) -> Entry | None:
    """None: there is no such process, or it has ended and nobody has asked how."""
    try:
        found = parse((PROC / str(pid) / "stat").read_text())
    except (OSError, UnicodeDecodeError):
        return None
    return found if found is not None and found.state not in DEAD else None


def command(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def everybody() -> Iterator[Entry]:
    for path in PROC.iterdir():
        if path.name.isdigit() and (found := entry(int(path.name))) is not None:
            yield found


def boot() -> str:
    """Which start of the machine this is: numbers begin anew with each."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def is_alive(found: Entry) -> bool:
    now = entry(found.pid)
    return now is not None and now.start == found.start


def session_of(leader: Entry) -> list[int]:
    """Who is alive of the session that ``leader``, alive or dead, has begun. The kernel gives its number to nobody else
    while anyone of it is left; when it is somebody else's by now, nobody is left."""
    now = entry(leader.pid)
    if now is not None and now.start != leader.start:
        return []
    return sorted(found.pid for found in everybody() if found.session == leader.pid and found.start >= leader.start)
