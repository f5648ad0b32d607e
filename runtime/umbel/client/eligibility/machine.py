"""What Linux tells of the machine, under /proc, /sys and /dev. What cannot be read, or is not as expected, is None."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from umbel.client.eligibility.facts import Facts

SPAN_SECONDS = 60.0  # that the load is measured over
LEAST_SECONDS = 1.0  # less says nothing
UP, REJECT = 0x1, 0x200  # flags of a route


class Sample(NamedTuple):
    """Clock ticks since the machine's start: of all its CPUs together, of them busy, and of them this client's."""

    at: float
    total: int
    busy: int
    own: int


class Machine:
    """``load``: whether that is measured too, from one `look` to another. ``root``: where proc, sys and dev lie."""

    def __init__(self, *, load: bool, root: Path = Path("/"), pid: int | None = None) -> None:
        self._root = root
        self._pid = os.getpid() if pid is None else pid
        self._samples: deque[Sample] = deque()
        self._load = load
        if load:
            self._sample()

    def look(self) -> Facts:
        """Blocks for up to a second when the load was not looked at for so long."""
        others = self._others() if self._load else None
        now = time.time()
        return Facts(
            now=datetime.fromtimestamp(now, UTC),
            others=others,
            idle=_idle(self._root / "dev", now),
            mains=_mains(self._root / "sys/class/power_supply"),
            interfaces=_interfaces(self._root / "proc/net"),
        )

    def _sample(self) -> None:
        """Keep those of the last minute, and one before."""
        now = time.monotonic()
        try:
            total, busy = _ticks((self._root / "proc/stat").read_text())
            self._samples.append(Sample(now, total, busy, own_ticks(self._root / "proc", self._pid)))
        except (OSError, ValueError, IndexError):
            self._samples.clear()  # what was known is too old
        while len(self._samples) > 2 and now - self._samples[1].at >= SPAN_SECONDS:
            self._samples.popleft()

    def _others(self) -> float | None:
        if self._samples:
            time.sleep(max(0.0, LEAST_SECONDS - (time.monotonic() - self._samples[0].at)))
        self._sample()
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        total = last.total - first.total
        others = (last.busy - first.busy) - (last.own - first.own)
        return min(1.0, max(0.0, others / total)) if total > 0 else None


def _ticks(stat: str) -> tuple[int, int]:
    """(all, busy) of /proc/stat's first line: user nice system idle iowait irq softirq steal; guests are in user."""
    name, *columns = stat.splitlines()[0].split()
    if name != "cpu":
        raise ValueError(name)
    numbers = [int(column) for column in columns[:8]]
    return sum(numbers), sum(numbers) - numbers[3] - numbers[4]


def own_ticks(proc: Path, pid: int) -> int:
    """Of this process and all that it has started, also of those that have ended and were waited for."""
    parents, ticks = {}, {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
                _, _, rest = (folder / "stat").read_text(errors="replace").rpartition(")")
                columns = rest.split()
                parents[int(folder.name)] = int(columns[1])
                ticks[int(folder.name)] = sum(map(int, columns[11:15]))
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    found, more = 0, [pid]
    while more:
        one = more.pop()
        found += ticks.get(one, 0)
        more += children.get(one, [])
    return found


def _idle(dev: Path, now: float) -> float | None:
    """Since the last input at a terminal: reading one sets its time of access, to within some seconds."""
    try:
        devices = [*(dev / "pts").iterdir(), *dev.glob("tty[1-9]*"), *dev.glob("ttyS[0-9]*")]
    except OSError:
        return None
    times = []
    for device in devices:
        if device.name != "ptmx":
            with contextlib.suppress(OSError):  # it has just been closed
                times.append(device.stat().st_atime)
    return max(0.0, now - max(times)) if times else None


def _mains(supplies: Path) -> bool | None:
    """A machine without a battery is on mains; batteries of mice and the like do not count."""
    battery = False
    try:
        for supply in supplies.iterdir():
            kind = (supply / "type").read_text().strip()
            if kind == "Battery":
                battery |= _scope(supply) != "Device"
            elif (supply / "online").read_text().strip() == "1":
                return True
    except OSError:
        return None
    return not battery


def _scope(supply: Path) -> str:
    try:
        return (supply / "scope").read_text().strip()
    except FileNotFoundError:
        return "System"


def _interfaces(net: Path) -> tuple[str, ...] | None:
    """Of the default routes of IPv4 and IPv6, of each the cheapest."""
    try:
        found = [*_cheapest(_ipv4(net / "route")), *_cheapest(_ipv6(net / "ipv6_route"))]
    except (OSError, ValueError, IndexError):
        return None
    return tuple(sorted(set(found)))


def _cheapest(routes: Iterator[tuple[int, str]]) -> list[str]:
    found = list(routes)
    least = min((metric for metric, _ in found), default=0)
    return [name for metric, name in found if metric == least]


def _ipv4(file: Path) -> Iterator[tuple[int, str]]:
    for line in file.read_text().splitlines()[1:]:
        name, destination, _, flags, _, _, metric, mask, *_ = line.split()
        if int(destination, 16) == int(mask, 16) == 0 and int(flags, 16) & (UP | REJECT) == UP:
            yield int(metric), name


def _ipv6(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text()
    except FileNotFoundError:  # a kernel without IPv6
        return
    for line in text.splitlines():
        destination, length, _, _, _, metric, _, _, flags, name = line.split()
        if int(destination, 16) == int(length, 16) == 0 and int(flags, 16) & (UP | REJECT) == UP:
            yield int(metric, 16), name
