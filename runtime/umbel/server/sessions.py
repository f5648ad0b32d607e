"""The control channels that are open now: what to send to whom, and who has stored the final model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from umbel.wire import umbel_pb2 as pb


@dataclass(eq=False)
class Channel:
    """One session's outbound side. ``None`` in the queue ends the stream."""

    silo: str
    number: int
    queue: asyncio.Queue[pb.ServerMessage | None] = field(default_factory=asyncio.Queue)
    told_finished: bool = False
    stored: bool = False

    def send(self, message: pb.ServerMessage) -> None:
        self.queue.put_nowait(message)

    def end(self, refusal: pb.Refused | None = None) -> None:
        if refusal is not None:
            self.queue.put_nowait(pb.ServerMessage(refused=refusal))
        self.queue.put_nowait(None)

    async def outbound(self) -> AsyncIterator[pb.ServerMessage]:
        while (message := await self.queue.get()) is not None:
            yield message


class Sessions:
    """By number: a silo may for a moment have two, and an action is meant for one of them."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Channel] = {}
        self._expiries: dict[str, float] = {}  # of the certificate that a silo showed last, Unix time
        self.changed = asyncio.Event()

    def open(self, silo: str) -> Channel:
        channel = Channel(silo, next(self._numbers))
        self._open[channel.number] = channel
        return channel

    def certificate_seen(self, silo: str, expires: float) -> None:
        self._expiries[silo] = expires

    def earliest_expiry(self) -> float | None:
        """Of the connected silos' certificates; None while nobody is connected."""
        connected = {channel.silo for channel in self._open.values()}
        return min((end for silo, end in self._expiries.items() if silo in connected), default=None)

    def close(self, channel: Channel) -> None:
        self._open.pop(channel.number, None)
        self.changed.set()

    def send(self, number: int, message: pb.ServerMessage) -> None:
        """To a session that may just have ended: then nobody is there to care."""
        if channel := self._open.get(number):
            channel.send(message)

    def end(self, number: int, refusal: pb.Refused) -> None:
        if channel := self._open.get(number):
            channel.end(refusal)

    def finish(self, message: pb.ServerMessage) -> None:
        for channel in self._open.values():
            self.finish_one(channel, message)

    def finish_one(self, channel: Channel, message: pb.ServerMessage) -> None:
        if not channel.told_finished:
            channel.told_finished = True
            channel.send(message)

    def stored(self, channel: Channel) -> None:
        channel.stored = True
        self.changed.set()

    def waiting_for_model(self) -> bool:
        """Whether somebody connected has been told the end and has not stored the model yet."""
        return any(c.told_finished and not c.stored for c in self._open.values())

    def end_all(self) -> None:
        for channel in list(self._open.values()):
            channel.end()
