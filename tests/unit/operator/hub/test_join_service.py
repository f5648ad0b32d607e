"""The join service goes on while its certificate is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.hub.authority import Authority
from umbel_operator.hub.join.service import JoinService
from umbel_operator.hub.settings import Settings

ASK = f"POST {joining.JOIN_PATH} HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"


def trusting_anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def asked(caller: socket.socket) -> str:
    caller.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=caller, ssl=trusting_anybody(), server_hostname="hub")
    with contextlib.closing(writer):
        writer.write(ASK.encode())
        return (await reader.read()).decode()


@pytest.mark.parametrize("passes", range(8))
async def test_who_connects_as_the_certificate_is_replaced_is_answered(passes: int) -> None:
    """Whenever it comes: ``passes`` of the loop lie between its connecting and the change."""
    authority = Authority(pki.Authority.generate(), Settings())
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    service = asyncio.create_task(
        JoinService(SimpleNamespace(), authority, Settings(), CollectorRegistry()).run(listening)
    )
    try:
        async with asyncio.timeout(20):
            assert joining.REQUEST_NOT_VALID in await asked(socket.create_connection(address))
            for number in range(2):  # in the first change there is one socket that accepts, in the next another
                caller = socket.create_connection(address)
                for _ in range(passes):
                    await asyncio.sleep(0)
                assert authority.replace(pki.Authority.generate()), number
                assert joining.REQUEST_NOT_VALID in await asked(caller)
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
