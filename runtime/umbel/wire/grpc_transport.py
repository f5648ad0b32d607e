"""``grpcs://``: the transport that ships, gRPC over mutual TLS 1.3."""

from __future__ import annotations

from umbel.wire.credentials import Credentials
from umbel.wire.grpc_connection import GrpcConnection
from umbel.wire.grpc_listener import GrpcListener
from umbel.wire.transport import Limits, Service


class GrpcTransport:
    async def listen(self, url: str, service: Service, credentials: Credentials | None, limits: Limits) -> GrpcListener:
        if credentials is None:
            raise ValueError("grpcs:// needs a certificate, a key and a trust bundle")
        listener = GrpcListener(service, limits)
        await listener.start(url, credentials)
        return listener

    async def connect(self, url: str, credentials: Credentials | None, server_name: str) -> GrpcConnection:
        if credentials is None:
            raise ValueError("grpcs:// needs a certificate, a key and a trust bundle")
        return GrpcConnection(url, credentials, server_name)
