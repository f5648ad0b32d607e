"""Ending at a signal: with what is at hand sent first, if there is time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

STOPPED = 75  # by a signal, or the app did not return: started again, it goes on


async def until_stopped(work: Coroutine[Any, Any, None], leave: Callable[[], Awaitable[None]] | None = None) -> int:
    """0 when ``work`` has ended, STOPPED when a signal has ended it, after ``leave``.

    A scheduler may send TERM several times: only INT, which comes from a person, is heeded twice.
    """
    task = asyncio.ensure_future(work)
    leaving: asyncio.Future[None] | None = None

    def stop(number: signal.Signals) -> None:
        nonlocal leaving
        if leave is None or (leaving is not None and number == signal.SIGINT):
            task.cancel()
        elif leaving is None:
            leaving = asyncio.ensure_future(leave())
            leaving.add_done_callback(lambda _: task.cancel())

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        return STOPPED
    finally:
        if leaving is not None:
            leaving.cancel()
    return 0
