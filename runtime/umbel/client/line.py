"""The connection at hand, or the wait for the next one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from umbel.wire import umbel_pb2 as pb
from umbel.wire.transport import Connection, Session


@dataclass(eq=False)
class Link:
    """One session and the connection it runs on. Messages are sent one at a time: a stream takes no two writers."""

    connection: Connection
    session: Session
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, message: pb.ClientMessage) -> None:
        """Raises TransportError."""
        async with self._sending:
            await self.session.send(message)


class Line:
    """Where work that outlives a session finds the present one. It is up from Declare to the session's end."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()

    def connected(self, link: Link) -> None:
        self._link = link
        self._down.clear()
        self._up.set()

    def lost(self) -> None:
        self._link = None
        self._up.clear()
        self._down.set()

    async def down(self) -> None:
        """When there is none."""
        await self._down.wait()

    async def get(self) -> Link:
        """The present link, as soon as there is one."""
        while (link := self._link) is None:
            await self._up.wait()
        return link
