"""No process of a run outlives its supervisor, however that one ended.

The supervisor names itself in the environment of what it starts; the child asks the kernel to be killed with it. The
child does so itself, since code between fork and exec is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

VARIABLE = "UMBEL_SUPERVISOR"
PR_SET_PDEATHSIG = 1
POLL_SECONDS = 1.0


def hold() -> None:
    """End with the supervisor named in the environment; without one, do nothing."""
    supervisor = os.environ.pop(VARIABLE, "")  # popped: it is not the parent of this process' own children
    if not supervisor.isdigit():
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(int(supervisor),), daemon=True).start()
    if os.getppid() != int(supervisor):  # it died before the kernel was asked
        os._exit(1)


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(POLL_SECONDS)
    os._exit(1)
