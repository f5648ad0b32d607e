"""Of two processes that were started as the same client the older one stops: the newer one's token is in the file.

A node that a site has lost may still run its client; when it is back, the two must not take turns.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

log = logging.getLogger("umbel.client")

LOOK_SECONDS = 5.0


def holds(file: Path, token: str) -> bool:
    """A file that cannot be read says nothing; one that is not there says that nobody is to run."""
    try:
        return file.read_text().strip() == token
    except FileNotFoundError:
        return False
    except OSError:
        return True


async def until_taken_over(file: Path, token: str, every: float = LOOK_SECONDS) -> None:
    while await asyncio.to_thread(holds, file, token):  # noqa: ASYNC110 - another machine writes it
        await asyncio.sleep(every)
    log.warning("another attempt has taken over, or none is wanted any more; stopping")
