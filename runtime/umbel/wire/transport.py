"""The one interface between federation and network.

A transport moves the four exchanges of ``umbel.proto`` for one URL scheme. Whoever writes one implements `Transport`
and registers it under the entry-point group ``umbel.transports`` with the scheme as its name; engine, server and SDK
stay as they are. Control messages are the protobuf messages of ``umbel.proto``; bulk data is raw bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials

Bytes = bytes | bytearray | memoryview


class TransportError(Exception):
    """An exchange did not happen. ``retry``: the same call may succeed later (network, overload, restart)."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class Refusal(Exception):
    """Raised by a service for a caller it will not serve; ``code`` is the wire's: PERMISSION_DENIED, NOT_FOUND,
    FAILED_PRECONDITION, INVALID_ARGUMENT, UNAVAILABLE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One model, serialised once: encoded data frames (`frames.payload` gives their data), and its XXH3-128 digest."""

    version: int
    length: int
    frames: tuple[bytes, ...]
    digest: bytes


class Service(Protocol):
    """What the server offers to any transport. ``silo`` is the caller's proven identity."""

    def session(self, silo: str, inbound: AsyncIterator[pb.ClientMessage]) -> AsyncGenerator[pb.ServerMessage, None]:
        """Yields what to send; the inbound iterator ends when the client is gone."""
        ...

    async def get_model(self, silo: str, request: pb.GetModelRequest) -> Broadcast:
        """Raises Refusal."""
        ...

    async def put_update(self, silo: str, header: pb.UpdateHeader, frames: AsyncIterator[Bytes | pb.Commit]) -> pb.Ack:
        """``frames`` yields data and then one Commit; without it the upload was cut off. Raises Refusal."""
        ...

    async def put_evaluation(self, silo: str, report: pb.Evaluation) -> pb.Ack:
        """Raises Refusal."""
        ...

    def certificate_seen(self, silo: str, expires: float) -> None:
        """A session is about to open under a certificate that ends then (Unix time)."""
        ...

    def unreadable(self, silo: str) -> None:
        """An upload of ``silo`` began with bytes that are no header: count it."""
        ...

    def turned_away(self) -> None:
        """Somebody without a proven silo identity knocked: count it."""
        ...


class Listener(Protocol):
    """A transport's server side, bound and serving."""

    address: str  # what clients dial, with the port that was really bound

    async def stop(self, grace_seconds: float) -> None: ...


class Session(Protocol):
    """A client's control channel."""

    async def send(self, message: pb.ClientMessage) -> None:
        """Raises TransportError when the channel is gone."""
        ...

    def __aiter__(self) -> AsyncIterator[pb.ServerMessage]:
        """Ends when the server ended the stream; raises TransportError when it broke."""
        ...

    async def close(self) -> None: ...


class Connection(Protocol):
    """A client's side of one server."""

    async def session(self) -> Session: ...

    async def get_model(self, request: pb.GetModelRequest, into: NDArray[np.uint8]) -> bytes:
        """Fill ``into`` (exactly the model's length) and return the verified 16-byte digest. Raises TransportError,
        also when length or digest do not agree."""
        ...

    async def put_update(self, header: pb.UpdateHeader, data: Callable[[], AsyncIterator[Bytes]]) -> pb.Ack:
        """Send header, data frames (``data()`` starts them anew) and the commit. Raises TransportError."""
        ...

    async def put_evaluation(self, report: pb.Evaluation) -> pb.Ack: ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Both sides for one URL scheme."""

    def listen(
        self, url: str, service: Service, credentials: Credentials | None, limits: Limits
    ) -> Awaitable[Listener]:
        """Raises OSError for an address that cannot be bound."""
        ...

    def connect(self, url: str, credentials: Credentials | None, server_name: str) -> Awaitable[Connection]:
        """``server_name``: the one DNS name that the server's certificate must carry, whatever is dialled."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a listener must hold against hostile or broken peers."""

    members: int
    max_upload_bytes: int
    trust_domain: str
    round_timeout_seconds: float
