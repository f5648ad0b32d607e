"""A client's side of gRPC: the same four exchanges, with the model copied straight into the caller's buffer."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from umbel.wire import frames, grpc_credentials, grpc_keepalive
from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials
from umbel.wire.grpc_listener import SERVICE
from umbel.wire.transport import Bytes, TransportError

import grpc  # isort: skip  (after grpc_credentials: the environment comes first)

RETRY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    *grpc_keepalive.OPTIONS,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),  # the session retries, with jitter and the round's deadline in view
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def translate(error: grpc.aio.AioRpcError) -> TransportError:
    """Transient codes may be tried again; everything else is the server's considered answer."""
    code = error.code()
    return TransportError(f"{code.name}: {error.details() or 'no details'}", retry=code in RETRY)


class GrpcSession:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, message: pb.ClientMessage) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        except Exception:  # grpcio's InvalidStateError and UsageError: the call is over
            raise TransportError("the session has ended", retry=True) from None

    async def __aiter__(self) -> AsyncIterator[pb.ServerMessage]:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                yield message
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None

    async def close(self) -> None:
        self._call.cancel()


class GrpcConnection:
    def __init__(self, url: str, credentials: Credentials, server_name: str) -> None:
        parts = urllib.parse.urlsplit(url)
        channel = self._channel(f"{parts.hostname}:{parts.port or 8443}", credentials, server_name)
        self._dialled = channel
        self._session = channel.stream_stream(
            f"/{SERVICE}/Session", pb.ClientMessage.SerializeToString, pb.ServerMessage.FromString
        )
        self._get_model = channel.unary_stream(f"/{SERVICE}/GetModel", pb.GetModelRequest.SerializeToString, None)
        self._put_update = channel.stream_unary(f"/{SERVICE}/PutUpdate", None, pb.Ack.FromString)
        self._put_evaluation = channel.unary_unary(
            f"/{SERVICE}/PutEvaluation", pb.Evaluation.SerializeToString, pb.Ack.FromString
        )

    def _channel(self, address: str, credentials: Credentials, server_name: str) -> grpc.aio.Channel:
        names = [("grpc.ssl_target_name_override", server_name), ("grpc.default_authority", server_name)]
        return grpc.aio.secure_channel(
            address, grpc_credentials.channel_credentials(credentials), options=[*OPTIONS, *names]
        )

    async def session(self) -> GrpcSession:
        return GrpcSession(self._session())

    async def get_model(self, request: pb.GetModelRequest, into: NDArray[np.uint8]) -> bytes:
        call = self._get_model(request)
        target = into.data
        digest = xxhash.xxh3_128()
        received, agreed = 0, b""
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                data = frames.payload(frame)
                if data is None:
                    agreed = _agreed(frame, len(target)) or agreed
                    continue
                if received + len(data) > len(target):
                    raise TransportError("the model is longer than its layout", retry=False)
                target[received : received + len(data)] = data
                digest.update(data)
                received += len(data)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        except frames.FrameError as error:
            raise TransportError(f"bad model frame: {error}", retry=True) from None
        finally:
            call.cancel()
        if received != len(target) or agreed != digest.digest():
            raise TransportError("the model arrived incomplete", retry=True)
        return agreed

    async def put_update(self, header: pb.UpdateHeader, data: Callable[[], AsyncIterator[Bytes]]) -> pb.Ack:
        call = self._put_update(_upload(header, data()))
        try:
            ack: pb.Ack = await call
            return ack
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        finally:
            call.cancel()

    async def put_evaluation(self, report: pb.Evaluation) -> pb.Ack:
        try:
            ack: pb.Ack = await self._put_evaluation(report, timeout=60)
            return ack
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None

    async def close(self) -> None:
        await self._dialled.close()


async def _upload(header: pb.UpdateHeader, data: AsyncIterator[Bytes]) -> AsyncIterator[bytes]:
    yield pb.UpdateFrame(header=header).SerializeToString()
    digest = xxhash.xxh3_128()
    async for piece in data:
        digest.update(piece)
        yield frames.data_frame(piece)
    yield pb.UpdateFrame(commit=pb.Commit(digest=digest.digest(), padding=frames.PADDING)).SerializeToString()


def _agreed(frame: bytes, length: int) -> bytes:
    """The digest of a commit frame; empty for a header, which must announce the layout's length."""
    parsed = frames.control(frame, pb.ModelFrame)
    if parsed.WhichOneof("kind") == "commit":
        return parsed.commit.digest
    if parsed.WhichOneof("kind") == "header" and parsed.header.length == length:
        return b""
    raise TransportError("the model's length is not the layout's", retry=False)
