"""The system calls that Python 3.11 has no name for."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 2, 4, 8, 4096, 16384, 1 << 18, 1 << 20
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def forget_process_namespace() -> None:
    """What this process starts from now on is in its own namespace again."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    _check(_libc.setns(own, CLONE_NEWPID), "setns")
    os.close(own)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    done = _libc.mount(source.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(done, f"mount {kind or source} at {target}")


def die_with_parent(signum: int) -> None:
    parent = os.getppid()
    _check(_libc.prctl(PR_SET_PDEATHSIG, signum), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def _check(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
