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
    writer.write(ASK.encode())
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said.decode()


@pytest.mark.parametrize("passes", range(-8, 8))
async def test_who_connects_as_the_certificate_is_replaced_is_answered(passes: int) -> None:
    """Whenever it comes: the change is as many passes of the loop after its connecting, or before."""
    authority = Authority(pki.Authority.generate(), Settings())
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    service = asyncio.create_task(
        JoinService(SimpleNamespace(), authority, Settings(), CollectorRegistry()).run(listening)
    )
    callers: list[socket.socket] = []
    replace = lambda: authority.replace(pki.Authority.generate())  # noqa: E731
    try:
        async with asyncio.timeout(20):
            assert joining.REQUEST_NOT_VALID in await asked(socket.create_connection(address))
            for _ in range(2):  # at the second change what accepts has been changed once
                steps = [lambda: callers.append(socket.create_connection(address)), replace]
                first, second = steps if passes >= 0 else reversed(steps)
                first()
                for _ in range(abs(passes)):
                    await asyncio.sleep(0)
                second()
                assert joining.REQUEST_NOT_VALID in await asked(callers.pop())
        assert not service.done()
    finally:
        service.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await service
