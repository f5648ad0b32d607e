"""Between compute nodes that have no route out and the jobs' servers: bytes, in memory, as they come.

The TLS is between client and server: here only the name in its first message is read, and where that leads, `routes`
says.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence

from umbel_operator import logs
from umbel_operator.agent.backends.slurm import hello
from umbel_operator.agent.backends.slurm.routes import Address, Routes

CHUNK = 1 << 16  # of each direction of a connection so much waits, or twice that; then whoever sends has to wait
HELLO_SECONDS, DIAL_SECONDS = 10.0, 10.0
STALL_SECONDS = 60.0  # one that takes nothing of what waits for it for so long is gone
LINGER_SECONDS = 10.0  # from the end of one direction to that of the other
LOOK_SECONDS, FRESH_SECONDS = 5.0, 0.5
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 20, socket.TCP_KEEPCNT: 3}

Look = Callable[[], Awaitable[Routes]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """``look``: where one may go now; raises OSError. ``limit``: of connections at a time."""

    def __init__(self, look: Look, limit: int) -> None:
        self._look, self._limit = look, limit
        self._routes: Routes = {}
        self._seen = float("-inf")
        self._open: dict[asyncio.Task[None], tuple[str, Address] | None] = {}
        self._listening: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self, host: str, ports: Sequence[int]) -> int:
        """Listens at the first of ``ports`` that is free, and says which. ``host``: an IPv6 address in brackets. Raises
        OSError."""
        for port in ports:
            try:
                self._listening = await asyncio.start_server(self._accept, host.strip("[]"), port, limit=CHUNK)
                break
            except OSError:
                if port == ports[-1]:
                    raise
        assert self._listening is not None
        self._watching = asyncio.create_task(self._watch())
        port = int(self._listening.sockets[0].getsockname()[1])
        logs.info("the relay listens", name=f"{host}:{port}")
        return port

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        tasks = [*self._open, *([self._watching] if self._watching is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """End what may not go on, by the routes as they are now."""
        try:
            self._routes = await self._look()
            self._seen = time.monotonic()
        except OSError as error:  # what could not be read is no news
            logs.warning("the relay cannot read whom it serves", error=str(error))
        for task, where in list(self._open.items()):
            if where is not None and self._routes.get(where[0]) != where[1]:
                logs.info("a relayed connection ends with its client", name=where[0])
                task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self._limit:
            logs.warning("the relay has as many connections as slurm.relay.connections allows")
            writer.transport.abort()
            return
        self._open[task] = None
        try:
            await self._serve((reader, writer), task)
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            logs.warning("a relayed connection ended early", error=str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass  # `look` or `close` has ended it, and nobody else waits for it
        finally:
            await _abort(writer)
            del self._open[task]

    async def _serve(self, near: Streams, task: asyncio.Task[None]) -> None:
        async with asyncio.timeout(HELLO_SECONDS):
            name, first = await _hello(near[0])
        if name not in self._routes and time.monotonic() - self._seen > FRESH_SECONDS:
            await self.look()
        where = self._routes.get(name)
        if where is None:
            raise ValueError("no client here has a server of the name that was asked for")
        self._open[task] = name, where
        async with asyncio.timeout(DIAL_SECONDS):
            far = await asyncio.open_connection(where.host, where.port, limit=CHUNK)
        try:
            far[1].write(first)
            await _both(near, far)
        finally:
            await _abort(far[1])


async def _hello(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The name, and all that was read. Raises ValueError, EOFError."""
    read = b""
    while True:
        with contextlib.suppress(hello.Incomplete):
            return hello.server_name(read), read
        if not (more := await reader.read(hello.MOST_BYTES + 1 - len(read))):
            raise EOFError("it ended before it said whom it is for")
        read += more


async def _both(near: Streams, far: Streams) -> None:
    """Until both directions have ended. Raises OSError, TimeoutError."""
    for _, writer in (near, far):
        writer.transport.set_write_buffer_limits(high=CHUNK)
        _keep_alive(writer.get_extra_info("socket"))
    pumps = [asyncio.create_task(_pump(near[0], far[1])), asyncio.create_task(_pump(far[0], near[1]))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if all(pump.exception() is None for pump in pumps if pump.done()):
            await asyncio.wait(pumps, timeout=LINGER_SECONDS)
    finally:
        for pump in pumps:
            pump.cancel()
        ends = await asyncio.gather(*pumps, return_exceptions=True)
    for end in ends:
        if isinstance(end, OSError | TimeoutError):
            raise end


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        async with asyncio.timeout(STALL_SECONDS):
            await sink.drain()
    sink.write_eof()


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
