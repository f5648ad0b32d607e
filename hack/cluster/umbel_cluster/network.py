"""A cluster's network namespace: a node address, a bridge for pods, a cable to every other cluster."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from .layout import Layout
from .tools import ClusterError, installed

BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def load_modules() -> None:
    """Outside: pods on one bridge reach Services only through it."""
    if not BRIDGED.exists():
        _run("modprobe", "br_netfilter")


def prepare(own: Layout) -> None:
    """Inside the namespace: the node's address, a way for everything else, and pods that speak to other nodes by it."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "node0", "type", "bridge")
    _run("ip", "address", "add", f"{own.node_ip}/32", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    # A Service's address is rewritten only after a route for it was found.
    _run("ip", "route", "add", "default", "dev", "node0", "src", own.node_ip)
    for setting in (Path("/proc/sys/net/ipv4/ip_forward"), BRIDGED):
        setting.write_text("1")
    _run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", own.pods, "-o", "peer+", "-j", "MASQUERADE")


def connect(own: Layout, own_pid: int, other: Layout, other_pid: int) -> None:
    """Outside: a pair of interfaces between the namespaces of two clusters. It goes when either of them does."""
    mine, theirs = f"peer{other.number}", f"peer{own.number}"
    with contextlib.suppress(ClusterError):  # that of a cluster before, which the kernel has not removed yet
        _run("ip", "link", "delete", theirs, inside=other_pid)
    _run(
        *("ip", "link", "add", mine, "netns", str(own_pid), "type", "veth"),
        *("peer", "name", theirs, "netns", str(other_pid)),
    )
    for pid, device, here, there in (own_pid, mine, own, other), (other_pid, theirs, other, own):
        _run("ip", "link", "set", device, "up", inside=pid)
        _run("ip", "route", "add", f"{there.node_ip}/32", "dev", device, "src", here.node_ip, inside=pid)


def has(pid: int) -> bool:
    """Whether the process still holds its namespace."""
    with contextlib.suppress(OSError):
        os.readlink(f"/proc/{pid}/ns/net")
        return True
    return False


def enter(pid: int, argv: list[str]) -> list[str]:
    """The command, run inside the network namespace of `pid`."""
    return [installed("nsenter"), f"--net=/proc/{pid}/ns/net", "--", *argv]


def _run(program: str, *args: str, inside: int | None = None) -> None:
    argv = [installed(program), *args]
    done = subprocess.run(enter(inside, argv) if inside else argv, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{program} {' '.join(args)}: {done.stderr.strip()}")
