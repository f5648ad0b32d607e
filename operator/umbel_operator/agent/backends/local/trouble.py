"""The disk's errors in words for the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from umbel_operator import logs
from umbel_operator.agent.backends.base import Trouble

DISK = "StateDirectoryUnusable"


@contextmanager
def told() -> Iterator[None]:
    """Which file it was goes to the log here."""
    try:
        yield
    except OSError as error:
        logs.warning("the state directory cannot be used", error=str(error))
        raise Trouble(DISK, "the silo's state directory cannot be used", temporary=False) from None
