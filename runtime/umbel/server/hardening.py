"""What the process gives up before it sees an update, and how it keeps memory."""

from __future__ import annotations

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
DUMPABLE = "UMBEL_TEST_DUMPABLE"  # set by tests that look into the process's memory


def harden() -> None:
    """No core dumps, no ptrace by other processes of the user, files for the owner only."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not os.environ.get(DUMPABLE):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def keep_memory() -> None:
    """Let glibc reuse the 2 MiB of a frame instead of asking the kernel for fresh pages each time: a page fault costs
    more than the copy into the page. Elsewhere than on glibc this does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024)
