"""A peer whose machine still acknowledges bytes and whose process says nothing: frozen, or behind a broken relay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from umbel.wire import umbel_pb2 as pb
from umbel.wire.grpc_transport import GrpcTransport
from umbel.wire.transport import TransportError

from .cohort import MALLORY, SILOS, Cohort
from .deployment import PATIENCE, SERVER_NAME, eventually
from .test_sessions import another

pytestmark = pytest.mark.process


class Relay:
    """Hands bytes on while it is `speaking`; then nothing, not even the end of a connection."""

    def __init__(self, target: str) -> None:
        self.speaking = asyncio.Event()
        self.speaking.set()
        self._target = target
        self._copying: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._join, "127.0.0.1", 0) as server:
            try:
                yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            finally:
                for task in self._copying:
                    task.cancel()
                await asyncio.wait(self._copying)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        self._copying.append(asyncio.create_task(self._copy(reader, onward_writer)))
        self._copying.append(asyncio.create_task(self._copy(onward_reader, writer)))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(65536):
                await self.speaking.wait()
                writer.write(data)
                await writer.drain()


async def test_both_sides_give_up_a_session_that_falls_silent(cohort: Cohort) -> None:
    def connected() -> float:
        return cohort.server.metrics()["fl_silos{state=connected}"]

    relay = Relay(cohort.server.address)
    async with relay.listening() as address:
        connection = await GrpcTransport().connect(
            f"grpcs://{address}", cohort.server.credentials(MALLORY), SERVER_NAME
        )
        session = await connection.session()
        await session.send(pb.ClientMessage(hello=pb.Hello(protocol_versions=[1])))
        heard = aiter(session)
        assert (await anext(heard)).WhichOneof("kind") == "welcome"
        await session.send(pb.ClientMessage(declare=pb.Declare(num_examples=40)))
        assert (await anext(heard)).WhichOneof("kind") == "task"
        relay.speaking.clear()
        with pytest.raises(TransportError) as raised:
            async with asyncio.timeout(PATIENCE):
                await anext(heard)
        assert raised.value.retry
        await eventually(lambda: connected() == 3, "the end of its session at the server")
        await connection.close()
    async with another(cohort) as again:
        await again.join(40)
        assert (await again.task()).round == cohort.task.round
        cohort.members[MALLORY] = cohort.mallory = again
        await cohort.settle(SILOS)
