"""A server in memory: what a session says is put into it by the test, what comes back is there to be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import xxhash

from umbel import Client, Dataset, Evaluation, Update, buffer
from umbel.client.eligibility.guard import Guard
from umbel.client.session import Member, Pace
from umbel.client.silo import Site
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Layout
from umbel.wire.transport import TransportError

ACCEPTED = pb.Ack(code=pb.ACCEPTED)
CLOSED = pb.Ack(code=pb.ROUND_CLOSED)
AGAIN = pb.Ack(code=pb.TRY_AGAIN)
EAGER = Pace(first_retry=0.0, longest_retry=0.0)
BROKEN = TransportError("the network is gone", retry=True)


def wire_layout(layout: Layout) -> pb.Layout:
    return pb.Layout(
        tensors=[
            pb.Tensor(name=t.name, dtype=t.dtype, shape=t.shape, offset=t.offset, buffer=t.buffer)
            for t in layout.tensors
        ]
    )


class FakeServer:
    """Holds a model; ``sessions`` are those that were opened, newest last."""

    def __init__(self, model: dict[str, np.ndarray], local: tuple[str, ...] = (), config: str = "{}") -> None:
        self.down = Layout.of(model)
        self.up = self.down.upward()
        self.model = self.down.empty()
        self.down.pack(model, self.model)
        self.local, self.config = local, config
        self.epoch = 1
        self.sessions: asyncio.Queue[FakeSession] = asyncio.Queue()
        self.updates: asyncio.Queue[tuple[pb.UpdateHeader, dict[str, np.ndarray]]] = asyncio.Queue()
        self.evaluations: asyncio.Queue[pb.Evaluation] = asyncio.Queue()
        self.answers: list[pb.Ack | TransportError] = []  # to uploads, first first; ACCEPTED when none is left
        self.fetches = 0
        self.sent = bytearray()  # every byte of every upload and control message
        self.dial_faults: list[TransportError] = []

    async def connect(self) -> FakeConnection:
        if self.dial_faults:
            raise self.dial_faults.pop(0)
        return FakeConnection(self)

    @property
    def digest(self) -> str:
        return xxhash.xxh3_128(self.model).hexdigest()

    def welcome(self) -> pb.ServerMessage:
        return pb.ServerMessage(
            welcome=pb.Welcome(
                protocol_version=1,
                job="default/job",
                job_uid="uid",
                epoch=self.epoch,
                seed=7,
                config_json=self.config,
                local_parameters=self.local,
                model_layout=wire_layout(self.down),
                update_layout=wire_layout(self.up),
            )
        )

    def task(self, round_: int, *, phase: int = pb.TRAIN, attempt: int = 1, **more: object) -> pb.ServerMessage:
        fields = {"seconds_left": 3600.0, "grace_seconds": 1.0, "accepts_partial": True, "strategy": "FedAvg"} | more
        return pb.ServerMessage(
            task=pb.Task(
                phase=phase,
                round=round_,
                attempt=attempt,
                epoch=self.epoch,
                model_version=round_ - 1,
                model_digest=self.digest,
                **fields,
            )
        )

    def finished(self) -> pb.ServerMessage:
        return pb.ServerMessage(
            finished=pb.Finished(outcome="Complete", has_model=True, model_version=9, model_digest=self.digest)
        )

    async def joined(self) -> FakeSession:
        """The next session, greeted and declared."""
        session = await self.sessions.get()
        assert (await session.heard()).WhichOneof("kind") == "hello"
        session.say(self.welcome())
        session.declared = (await session.heard()).declare.num_examples
        return session


class FakeSession:
    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._to_client: asyncio.Queue[pb.ServerMessage | TransportError | None] = asyncio.Queue()
        self._from_client: asyncio.Queue[pb.ClientMessage] = asyncio.Queue()
        self.declared = 0
        self.broken = False

    def say(self, message: pb.ServerMessage) -> None:
        self._to_client.put_nowait(message)

    def break_off(self) -> None:
        self.broken = True
        self._to_client.put_nowait(BROKEN)

    def end(self) -> None:
        self._to_client.put_nowait(None)

    async def heard(self) -> pb.ClientMessage:
        return await self._from_client.get()

    @property
    def silent(self) -> bool:
        """Nothing came that was not heard."""
        return self._from_client.empty()

    # ---- umbel.wire.transport.Session

    async def send(self, message: pb.ClientMessage) -> None:
        if self.broken:
            raise BROKEN
        self._server.sent += message.SerializeToString()
        self._from_client.put_nowait(message)

    async def __aiter__(self) -> AsyncIterator[pb.ServerMessage]:
        while (message := await self._to_client.get()) is not None:
            if isinstance(message, TransportError):
                raise message
            yield message

    async def close(self) -> None:
        self.broken = True


class FakeConnection:
    """`umbel.wire.transport.Connection`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    async def session(self) -> FakeSession:
        session = FakeSession(self._server)
        self._server.sessions.put_nowait(session)
        return session

    async def get_model(self, request: pb.GetModelRequest, into: np.ndarray) -> bytes:
        self._server.fetches += 1
        into[:] = self._server.model
        return bytes.fromhex(self._server.digest)

    async def put_update(self, header: pb.UpdateHeader, data: Callable[[], AsyncIterator[memoryview]]) -> pb.Ack:
        received = b"".join([bytes(piece) async for piece in data()])
        self._server.sent += header.SerializeToString() + received
        answer = self._server.answers.pop(0) if self._server.answers else ACCEPTED
        if isinstance(answer, TransportError):
            raise answer
        flat = self._server.up.empty()
        flat[:] = np.frombuffer(received, np.uint8)
        self._server.updates.put_nowait((header, self._server.up.views(flat)))
        return answer

    async def put_evaluation(self, report: pb.Evaluation) -> pb.Ack:
        self._server.evaluations.put_nowait(report)
        return ACCEPTED

    async def close(self) -> None:
        pass


class Adding(Client):
    """Adds 1 to every value in one step per batch; the simplest training there is."""

    examples = 5

    def initial(self, ctx):
        return {"w": np.zeros(3, np.float32), "head.w": np.full(2, 7, np.float32), "n": buffer(np.zeros(1))}

    def num_examples(self, ctx):
        return self.examples

    def fit(self, parameters, ctx):
        for _ in ctx.steps([None, None]):
            for array in parameters.values():
                array += array.dtype.type(1)
        return Update(parameters, metrics={"loss": 0.5})

    def evaluate(self, parameters, ctx):
        return Evaluation(4, {"sum": float(sum(a.sum() for a in parameters.values()))})


def member(app: Client, server: FakeServer, state: Path, pace: Pace = EAGER, guard: Guard | None = None) -> Member:
    return Member(app, Site("silo-a", Dataset("data-a"), state), server.connect, pace, guard)
