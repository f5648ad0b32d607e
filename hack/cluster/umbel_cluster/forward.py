"""A port of the host's loopback, whose other end is inside a cluster's namespace.

python -m umbel_cluster.forward DESCRIPTOR ADDRESS PORT      inside; the socket was bound and listens outside
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading


def start(listener: socket.socket, address: str, port: int) -> None:
    """`listener` was bound outside the namespace; connections onwards are made inside it."""
    threading.Thread(target=lambda: asyncio.run(serve(listener, address, port)), name="forward", daemon=True).start()


async def serve(listener: socket.socket, address: str, port: int) -> None:
    """For ever."""

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

    server = await asyncio.start_server(relay, sock=listener)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof() if writer.can_write_eof() else writer.close()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
