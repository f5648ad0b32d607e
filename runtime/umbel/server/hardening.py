"""What the process gives up before it sees an update, and how it keeps memory."""

from __future__ import annotations

import ctypes
import os
import resource

from umbel.server import logs

PR_SET_DUMPABLE = 4
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
DUMPABLE = "UMBEL_TEST_DUMPABLE"  # "1": for tests that look into the process's memory


def harden() -> None:
    """No core dumps, no ptrace by other processes of the user, files for the owner only, no library's words in the log.

    On systems without prctl core dumps are off by their limit alone.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None and os.environ.get(DUMPABLE) != "1":
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes peers' addresses, past Python's logging
    logs.redirect_libraries()


def return_memory() -> None:
    """While a model is being loaded: what is freed goes back to the kernel, whatever its size."""
    _mallopt(M_MMAP_THRESHOLD, 128 * 1024)


def keep_memory() -> None:
    """From then on: let glibc reuse the 2 MiB of a frame instead of asking the kernel for fresh pages each time, since
    a page fault costs more than the copy into the page."""
    _mallopt(M_MMAP_THRESHOLD, 8 * 1024 * 1024)
    _mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024)


def _mallopt(parameter: int, value: int) -> None:
    """Elsewhere than on glibc this does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
