"""The host's loopback port of the API server, whose other end is inside the cluster's namespace."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading


def start(listener: socket.socket, address: str, port: int) -> None:
    """`listener` was bound outside the namespace; connections onwards are made inside it."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            onward_reader, onward_writer = await asyncio.open_connection(address, port)
            with contextlib.closing(onward_writer):
                await asyncio.wait(
                    [
                        asyncio.ensure_future(_copy(reader, onward_writer)),
                        asyncio.ensure_future(_copy(onward_reader, writer)),
                    ]
                )

    async def serve() -> None:
        server = await asyncio.start_server(relay, sock=listener)
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), name="forward", daemon=True).start()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof() if writer.can_write_eof() else writer.close()
