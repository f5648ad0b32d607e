"""The one thread in which the user's code runs.

Always the same thread, since libraries keep state per thread (Keras its names, torch its gradient mode); a daemon, so
that code which never returns cannot keep the process alive.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="umbel-user-code", daemon=True).start()

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call it in the thread, after everything that was asked before. A caller that is cancelled does not end the
        call; what comes after still waits for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._calls.put(lambda: _call(loop, future, function, arguments))
        return await future

    async def idle(self) -> None:
        """When everything asked before has ended."""
        await self.run(lambda: None)

    def close(self) -> None:
        """End the thread after what was asked so far."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _call(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Result],
    function: Callable[..., Result],
    arguments: tuple[Any, ...],
) -> None:
    settle: Callable[[Any], None]
    try:
        value: Any = function(*arguments)
        settle = future.set_result
    except (Exception, SystemExit) as error:
        value, settle = _portable(error), future.set_exception

    def tell() -> None:
        if not future.done():
            settle(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)


def _portable(error: BaseException) -> Exception:
    """A future refuses StopIteration, and a SystemExit would end the event loop: neither is meant for it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"raised {error!r}")
    wrapped.__cause__ = error
    return wrapped
