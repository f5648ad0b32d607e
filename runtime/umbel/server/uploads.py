"""Room for updates on their way in: a fixed number of reused buffers, and the order in which uploads get one.

An update is in memory from its first byte until it is folded or refused, and its bytes are overwritten then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from umbel.server.pace import on_course
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Layout

MIN_BUDGET_BYTES = 64 * 1024 * 1024
CHECK_SECONDS = 0.5

ROUND_CLOSED = pb.Ack(code=pb.ROUND_CLOSED)
TRY_AGAIN = pb.Ack(code=pb.TRY_AGAIN)


class Upload:
    """One silo's transfer. `end` cuts it off with an answer unless its fate is already decided."""

    def __init__(self, silo: str) -> None:
        self.silo = silo
        self.received = 0
        self.started: float | None = None  # when it got its slot
        self.decided = False
        self.answer: pb.Ack | None = None
        self.task: asyncio.Task[pb.Ack] | None = None

    def end(self, answer: pb.Ack) -> None:
        if not self.decided and self.answer is None and self.task is not None:
            self.answer = answer
            self.task.cancel()


class Uploads:
    def __init__(self, layout: Layout, members: int, clock: Callable[[], float] = time.monotonic) -> None:
        budget = max(2 * layout.nbytes, MIN_BUDGET_BYTES)
        self._layout = layout
        self._clock = clock
        self.slots = max(1, min(members, budget // max(layout.nbytes, 1)))
        self._made = 0
        self._free: list[NDArray[np.uint8]] = []
        self._queue: deque[asyncio.Future[NDArray[np.uint8]]] = deque()
        self._running: dict[str, Upload] = {}
        self.seconds_left: Callable[[], float] = lambda: 0.0

    @property
    def bytes_held(self) -> int:
        return sum(u.received for u in self._running.values())

    async def admit(self, upload: Upload, task: asyncio.Task[pb.Ack]) -> pb.Ack:
        """Await ``task`` as the one upload of its silo; the newest replaces an older one."""
        if older := self._running.get(upload.silo):
            older.end(TRY_AGAIN)
        upload.task = task
        self._running[upload.silo] = upload
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if upload.answer is not None:
                return upload.answer
            if not upload.decided:  # the caller is gone; a fold under way still needs its buffer
                task.cancel()
            raise
        finally:
            if self._running.get(upload.silo) is upload:
                del self._running[upload.silo]

    @contextlib.asynccontextmanager
    async def slot(self, upload: Upload) -> AsyncIterator[NDArray[np.uint8]]:
        """A buffer of the layout, first come first served. Whoever uses it leaves it zeroed, or sets ``upload.decided``
        after the fold has done so."""
        buffer = await self._acquire()
        upload.started = self._clock()
        try:
            yield buffer
        finally:
            if not upload.decided:
                buffer[: upload.received] = 0
            upload.received = 0
            upload.started = None
            self._release(buffer)

    def close_round(self) -> None:
        """The round is over: nobody needs to send any further."""
        for upload in list(self._running.values()):
            upload.end(ROUND_CLOSED)

    async def police(self) -> None:
        """For ever: while somebody waits, end what is not on course."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()

    def check(self) -> None:
        waiting = sum(not f.done() for f in self._queue)
        for upload in list(self._running.values()):
            if upload.started is not None and not on_course(
                received=upload.received,
                length=self._layout.nbytes,
                elapsed=self._clock() - upload.started,
                seconds_left=self.seconds_left(),
                slots=self.slots,
                waiting=waiting,
            ):
                upload.end(TRY_AGAIN)

    async def _acquire(self) -> NDArray[np.uint8]:
        if self._free:
            return self._free.pop()
        if self._made < self.slots:
            self._made += 1
            return self._layout.empty()
        future: asyncio.Future[NDArray[np.uint8]] = asyncio.get_running_loop().create_future()
        self._queue.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())
            raise

    def _release(self, buffer: NDArray[np.uint8]) -> None:
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(buffer)
                return
        self._free.append(buffer)
