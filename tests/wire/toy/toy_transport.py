"""A transport of a few lines, as another package would bring it: asyncio queues within one process.

``toy://silo-1@place`` says who dials where. Everything crosses as bytes, and `RECORD` keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import xxhash
from numpy.typing import NDArray

from umbel.wire import frames
from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials
from umbel.wire.transport import Bytes, Limits, Refusal, Service, TransportError

Message = TypeVar("Message", pb.GetModelRequest, pb.UpdateHeader, pb.Evaluation)

RECORD: list[bytes] = []
PLACES: dict[str, ToyListener] = {}


def cross(data: Bytes) -> bytes:
    """The wire: what goes in comes out, as bytes of its own."""
    RECORD.append(bytes(data))
    return RECORD[-1]


class ToyListener:
    def __init__(self, url: str, service: Service) -> None:
        self.address = url
        self.service = service
        PLACES[urlsplit(url).hostname or ""] = self

    async def stop(self, grace_seconds: float) -> None:
        del PLACES[urlsplit(self.address).hostname or ""]


class ToySession:
    def __init__(self, silo: str, service: Service) -> None:
        self._up: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._down: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._serving = asyncio.create_task(self._serve(silo, service))

    async def _serve(self, silo: str, service: Service) -> None:
        try:
            async with aclosing(service.session(silo, self._inbound())) as outbound:
                async for message in outbound:
                    self._down.put_nowait(cross(message.SerializeToString()))
        finally:
            self._down.put_nowait(None)

    async def _inbound(self) -> AsyncIterator[pb.ClientMessage]:
        while (data := await self._up.get()) is not None:
            yield pb.ClientMessage.FromString(data)

    async def send(self, message: pb.ClientMessage) -> None:
        if self._serving.done():
            raise TransportError("the session has ended", retry=True)
        self._up.put_nowait(cross(message.SerializeToString()))

    async def __aiter__(self) -> AsyncIterator[pb.ServerMessage]:
        while (data := await self._down.get()) is not None:
            yield pb.ServerMessage.FromString(data)

    async def close(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)


class ToyConnection:
    def __init__(self, silo: str, service: Service) -> None:
        self._silo = silo
        self._service = service

    async def session(self) -> ToySession:
        return ToySession(self._silo, self._service)

    async def get_model(self, request: pb.GetModelRequest, into: NDArray[np.uint8]) -> bytes:
        try:
            model = await self._service.get_model(self._silo, _copied(request))
        except Refusal as refusal:
            raise TransportError(str(refusal), retry=refusal.code == "UNAVAILABLE") from None
        data = b"".join(cross(frames.payload(frame) or b"") for frame in model.frames)
        into[:] = np.frombuffer(data, np.uint8)
        return model.digest

    async def put_update(self, header: pb.UpdateHeader, data: Callable[[], AsyncIterator[Bytes]]) -> pb.Ack:
        async def crossing() -> AsyncIterator[Bytes | pb.Commit]:
            digest = xxhash.xxh3_128()
            async for piece in data():
                digest.update(piece)
                yield cross(piece)
            yield pb.Commit(digest=digest.digest())

        try:
            return await self._service.put_update(self._silo, _copied(header), crossing())
        except Refusal as refusal:
            raise TransportError(str(refusal), retry=refusal.code == "UNAVAILABLE") from None

    async def put_evaluation(self, report: pb.Evaluation) -> pb.Ack:
        try:
            return await self._service.put_evaluation(self._silo, _copied(report))
        except Refusal as refusal:
            raise TransportError(str(refusal), retry=refusal.code == "UNAVAILABLE") from None

    async def close(self) -> None:
        pass


class ToyTransport:
    async def listen(self, url: str, service: Service, credentials: Credentials | None, limits: Limits) -> ToyListener:
        return ToyListener(url, service)

    async def connect(self, url: str, credentials: Credentials | None, server_name: str) -> ToyConnection:
        parts = urlsplit(url)
        listener = PLACES.get(parts.hostname or "")
        if listener is None:
            raise TransportError(f"nobody listens at {url}", retry=True)
        return ToyConnection(parts.username or "", listener.service)


def _copied(message: Message) -> Message:
    return type(message).FromString(cross(message.SerializeToString()))
