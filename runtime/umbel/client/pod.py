"""How a client behaves as a container that is started again whenever it ends.

What the site's own agent can see of it is its exit status and a short message. So each pod ends exactly once when the
job has ended, saying which final model it stored, and then waits to be removed instead of dialling a server that is
gone. The message holds no text of the user's code.
"""

from __future__ import annotations

import asyncio
import json
import logging
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


def say_ended(outcome: str, state: Path) -> None:
    """Leave the message, and the mark that makes the next start wait."""
    message = json.dumps({"outcome": outcome, "final": final_round(state)})
    for path in (MARK, MESSAGE):
        try:
            path.write_text(message)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)


def ended_before(state: Path) -> bool:
    """Whether the final model is there already, of an earlier pod; this one's message then says so."""
    if final_round(state) is None:
        return False
    say_ended("Complete", state)
    return True


async def wait_to_be_stopped() -> None:
    log.info("this silo's part has ended; waiting to be stopped")
    await asyncio.Event().wait()
