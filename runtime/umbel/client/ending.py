"""What a client leaves for whoever runs it: that the job has ended, and which final model it stored.

The site's own agent sees its exit status and a short message. The message holds no text of the user's code. A container
is started again whenever it ends: so each pod ends exactly once when the job has ended, and then waits to be removed
instead of dialling a server that is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

log = logging.getLogger("umbel.client")

MESSAGE = Path("/dev/termination-log")  # Kubernetes' terminationMessagePath
MARK = Path("/tmp/umbel-ended")  # in the pod's own emptyDir: outlives the container, not the pod


def final_round(state: Path) -> int | None:
    """The round of the final model that ``state`` holds already; None when it holds none."""
    path = state / "model.safetensors"
    try:
        with safe_open(str(path), framework="numpy") as file:
            return int((file.metadata() or {})["round"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def say_ended(outcome: str, state: Path, reports: Iterable[Path]) -> None:
    """Leave the message in each of ``reports``, whole or not at all where that can be had."""
    message = json.dumps({"outcome": outcome, "final": final_round(state)})
    for path in reports:
        try:
            _write(path, message)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)


def ended_before(state: Path, reports: Iterable[Path]) -> bool:
    """Whether the final model is there already, of an earlier process; the message of this one then says so."""
    if final_round(state) is None:
        return False
    say_ended("Complete", state, reports)
    return True


async def wait_to_be_stopped() -> None:
    log.info("this silo's part has ended; waiting to be stopped")
    await asyncio.Event().wait()


def _write(path: Path, message: str) -> None:
    if path == MESSAGE:  # a mount: nothing can take its place
        path.write_text(message)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(message)
    temporary.replace(path)
