"""What a command in a pod prints, over the API server's exec endpoint (protocol v4.channel.k8s.io)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp

from umbel_operator.kube import POD, ApiError, Kube

PROTOCOL = "v4.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3


async def read(kube: Kube, namespace: str, pod: str, command: list[str]) -> AsyncIterator[bytes]:
    """Its standard output, block by block. Raises ApiError, also when the command fails."""
    params = [("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
    said = b""
    try:
        async with kube.websocket(POD.path(namespace, pod) + "/exec", params, PROTOCOL) as socket:
            async for message in socket:
                if message.type != aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, block = message.data[0], message.data[1:]
                if channel == STDOUT and block:
                    yield block
                elif channel == STDERR:
                    said = (said + block)[:500]
                elif channel == STATUS:
                    status = json.loads(block)
                    if status.get("status") != "Success":
                        words = said.decode(errors="replace").strip() or status.get("message", "")
                        raise ApiError(500, "CommandFailed", words)
                    return
    except aiohttp.WSServerHandshakeError as error:
        raise ApiError(error.status, "Refused", f"exec into pod {pod}: {error.message}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ApiError(0, "Unreachable", str(error)) from None
    raise ApiError(0, "Unreachable", "the connection ended before the command did")
