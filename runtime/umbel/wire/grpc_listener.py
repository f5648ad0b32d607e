"""The server's side of gRPC: identity and framing, then the `Service`."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from umbel.wire import frames, grpc_credentials, grpc_keepalive, pki
from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials
from umbel.wire.transport import Bytes, Limits, Refusal, Service

import grpc  # isort: skip  (after grpc_credentials: the environment comes first)

SERVICE = "umbel.v1.Federation"
HEADER_SECONDS = 5.0  # for an upload to say what it is
Received = TypeVar("Received", pb.ClientMessage, pb.GetModelRequest, pb.Evaluation)
Context = Any  # grpc.aio.ServicerContext: grpcio ships no types


def options(limits: Limits) -> list[tuple[str, int]]:
    """What a listener holds against broken and hostile peers; `docs/protocol.md` repeats what a client can notice."""
    pending = max(2 * limits.members, 64)
    return [
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_receive_message_length", frames.MAX_FRAME_BYTES + 64),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 8192),
        ("grpc.absolute_max_metadata_size", 8192),
        ("grpc.max_concurrent_streams", 16),
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", 2 * pending),
        ("grpc.server_handshake_timeout_ms", 5000),
        ("grpc.max_connection_age_ms", 600_000),
        ("grpc.max_connection_age_grace_ms", int(1000 * (limits.round_timeout_seconds + 60))),
        *grpc_keepalive.OPTIONS,
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
        # What a waiting upload may already have sent: without a bound, gRPC's own estimate grows to 16 MiB a stream.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", frames.share(limits.members)),
    ]


class GrpcListener:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.address = ""
        self._service = service
        self._limits = limits
        self._server = grpc.aio.server(options=options(limits))
        self._server.add_generic_rpc_handlers((self._handlers(),))

    async def start(self, url: str, credentials: Credentials) -> None:
        """Raises OSError for an address that cannot be bound."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or "127.0.0.1"
        port = self._bind(f"{host}:{parts.port or 0}", credentials)
        if port == 0:
            raise OSError(f"{host}:{parts.port} is in use or no address of this machine")
        await self._server.start()
        self.address = f"{parts.scheme}://{host}:{port}"

    def _bind(self, address: str, credentials: Credentials) -> int:
        try:
            return int(self._server.add_secure_port(address, grpc_credentials.server_credentials(credentials)))
        except RuntimeError:  # what grpcio raises for a port in use
            return 0

    async def stop(self, grace_seconds: float) -> None:
        await self._server.stop(grace_seconds)

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Session": grpc.stream_stream_rpc_method_handler(
                    self._session, _reader(pb.ClientMessage), pb.ServerMessage.SerializeToString
                ),
                "GetModel": grpc.unary_stream_rpc_method_handler(self._get_model, _reader(pb.GetModelRequest)),
                "PutUpdate": grpc.stream_unary_rpc_method_handler(self._put_update, None, pb.Ack.SerializeToString),
                "PutEvaluation": grpc.unary_unary_rpc_method_handler(
                    self._put_evaluation, _reader(pb.Evaluation), pb.Ack.SerializeToString
                ),
            },
        )

    def identify(self, context: Context) -> str | None:
        """The silo of the caller's certificate; None for anything but one name of the trust domain."""
        peer = context.auth_context()
        names, uris = peer.get("x509_subject_alternative_name", ()), peer.get("peer_uri", ())
        return grpc_credentials.silo_of(list(names), list(uris), self._limits.trust_domain)

    async def _caller(self, context: Context) -> str:
        silo = self.identify(context)
        if silo is None:
            self._service.turned_away()
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the certificate must name one silo and nothing else")
            raise AssertionError("abort raises")
        return silo

    async def _session(
        self, inbound: AsyncIterator[pb.ClientMessage], context: Context
    ) -> AsyncIterator[pb.ServerMessage]:
        silo = await self._caller(context)
        for pem in context.auth_context().get("x509_pem_cert", []):
            self._service.certificate_seen(silo, pki.expiry(pem))
        async with aclosing(self._service.session(silo, inbound)) as outbound:
            async for message in outbound:
                yield message

    async def _get_model(self, request: pb.GetModelRequest, context: Context) -> AsyncIterator[bytes]:
        silo = await self._caller(context)
        try:
            model = await self._service.get_model(silo, request)
        except Refusal as refusal:
            await context.abort(grpc.StatusCode[refusal.code], str(refusal))
            return
        header = pb.ModelHeader(model_version=model.version, length=model.length)
        yield pb.ModelFrame(header=header).SerializeToString()
        for frame in model.frames:
            yield frame
        yield pb.ModelFrame(commit=pb.Commit(digest=model.digest)).SerializeToString()

    async def _put_update(self, inbound: AsyncIterator[bytes], context: Context) -> pb.Ack:
        silo = await self._caller(context)
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                first = await anext(aiter(inbound), b"")
            header = frames.control(first, pb.UpdateFrame)
            if header.WhichOneof("kind") != "header":
                raise frames.FrameError("the first frame is the header")
            return await self._service.put_update(silo, header.header, _contents(inbound))  # type: ignore[arg-type]
        except (frames.FrameError, TimeoutError):
            self._service.unreadable(silo)
            return pb.Ack(code=pb.REJECTED, reason=pb.MALFORMED)
        except Refusal as refusal:
            await context.abort(grpc.StatusCode[refusal.code], str(refusal))
            raise

    async def _put_evaluation(self, report: pb.Evaluation, context: Context) -> pb.Ack:
        silo = await self._caller(context)
        try:
            return await self._service.put_evaluation(silo, report)
        except Refusal as refusal:
            await context.abort(grpc.StatusCode[refusal.code], str(refusal))
            raise


def _reader(kind: type[Received]) -> Callable[[bytes], Received]:
    """Parses a control message. Bytes that are none give an empty one, which the service answers as a message out of
    turn or of another job; what grpcio does with an exception here, it does not answer at all."""

    def read(data: bytes) -> Received:
        try:
            return kind.FromString(data)
        except DecodeError:
            return kind()

    return read


async def _contents(inbound: AsyncIterator[bytes]) -> AsyncIterator[Bytes | pb.Commit]:
    async for frame in inbound:
        data = frames.payload(frame)
        if data is not None:
            yield data
            continue
        parsed = frames.control(frame, pb.UpdateFrame)
        if parsed.WhichOneof("kind") != "commit":
            raise frames.FrameError("after the header come data and one commit")
        yield parsed.commit
