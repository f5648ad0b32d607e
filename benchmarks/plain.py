"""One transport more, for the benchmark only: ``grpc://``, plain text and no identities.

For comparison with systems that were measured without TLS. A caller is who its user agent says. Nothing of this is in
the package: it is found by the entry point beside this file, when this folder is on the import path.
"""

from __future__ import annotations

import os
import urllib.parse

import grpc

from umbel.wire.credentials import Credentials
from umbel.wire.grpc_connection import OPTIONS, GrpcConnection
from umbel.wire.grpc_listener import Context, GrpcListener
from umbel.wire.transport import Limits, Service


class PlainListener(GrpcListener):
    def _bind(self, address: str, credentials: Credentials) -> int:
        return int(self._server.add_insecure_port(address))

    def identify(self, context: Context) -> str | None:
        metadata = dict(context.invocation_metadata() or ())
        return str(metadata["user-agent"]).split(" ")[0]


class PlainConnection(GrpcConnection):
    def _channel(self, address: str, credentials: Credentials, server_name: str) -> grpc.aio.Channel:
        agent = ("grpc.primary_user_agent", os.environ["UMBEL_BENCHMARK_SILO"])
        return grpc.aio.insecure_channel(address, options=[*OPTIONS, agent])


class PlainTransport:
    async def listen(
        self, url: str, service: Service, credentials: Credentials | None, limits: Limits
    ) -> PlainListener:
        assert credentials is not None
        listener = PlainListener(service, limits)
        await listener.start(url, credentials)
        return listener

    async def connect(self, url: str, credentials: Credentials | None, server_name: str) -> PlainConnection:
        assert credentials is not None
        assert urllib.parse.urlsplit(url).hostname == "127.0.0.1", "plain text stays on this machine"
        return PlainConnection(url, credentials, server_name)
