"""Rank 0's end of the channel to one other rank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from umbel.client.ranks import meeting
from umbel.client.ranks.messages import ChannelError, Message, receive, send
from umbel.wire.layout import Array


class Peer:
    """``failed``: told of a call that raised there. ``lost``: told, once, that the rank is gone."""

    def __init__(
        self,
        rank: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        failed: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        self.rank = rank
        self._reader, self._writer = reader, writer
        self._failed, self._lost = failed, lost
        self._done = self._promise()
        self._passed = self._promise()
        self._listening = asyncio.create_task(self._listen())

    async def call(self, message: Message, parameters: Mapping[str, Array]) -> None:
        """Raises ChannelError."""
        self._done = self._promise()
        await send(self._writer, {"kind": "call", **message}, parameters)

    async def done(self) -> str:
        """Waits for the end of the call; what was the matter there, or "". Raises ChannelError."""
        return str(await self._done)

    async def hold(self) -> int:
        """The points that it has passed, and does not pass now. Raises ChannelError."""
        self._passed = self._promise()
        await send(self._writer, {"kind": "hold"})
        return int(await self._passed)

    async def go_on(self, limit: int) -> None:
        await send(self._writer, {"kind": "go_on", "limit": limit})

    async def end(self) -> None:
        """The rank ends, if it still hears it."""
        self._listening.cancel()
        try:
            await send(self._writer, {"kind": "end"})
        except ChannelError:
            pass
        finally:
            await meeting.close(self._writer)

    async def _listen(self) -> None:
        try:
            while True:
                message, _ = await receive(self._reader)
                self._hear(message)
        except ChannelError as error:
            for promise in (self._done, self._passed):
                if not promise.done():
                    promise.set_exception(error)
            self._lost(f"rank {self.rank}: {error}")

    def _hear(self, message: Message) -> None:
        if message["kind"] == "done" and not self._done.done():
            error = str(message.get("error") or "")
            self._done.set_result(error)
            if error:
                self._failed(f"rank {self.rank}: {error}")
        elif message["kind"] == "passed" and not self._passed.done():
            self._passed.set_result(message.get("points"))

    def _promise(self) -> asyncio.Future[Any]:
        promise: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        promise.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # not all are waited for
        return promise
