"""A member by hand: raw bytes over grpc.aio, so that everything can be said that a client should never say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from umbel.wire import frames, grpc_credentials
from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials
from umbel.wire.layout import Layout

from .deployment import PATIENCE, SERVER_NAME, UID, awaited

import grpc  # isort: skip  (after grpc_credentials: the environment comes first)

Flat = NDArray[np.uint8]
T = TypeVar("T")


def dial(address: str, credentials: Credentials | None, *options: tuple[str, Any]) -> grpc.aio.Channel:
    names = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.default_authority", SERVER_NAME),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_send_message_length", -1),
    ]
    secrets = (
        grpc.ssl_channel_credentials() if credentials is None else grpc_credentials.channel_credentials(credentials)
    )
    return grpc.aio.secure_channel(address, secrets, options=[*names, *options])


def as_layout(message: pb.Layout) -> Layout:
    return Layout.build((t.name, t.dtype, tuple(t.shape), t.buffer) for t in message.tensors)


def header_frame(header: pb.UpdateHeader) -> bytes:
    return pb.UpdateFrame(header=header).SerializeToString()


def commit_frame(data: bytes, digest: bytes | None = None) -> bytes:
    digest = xxhash.xxh3_128(data).digest() if digest is None else digest
    return pb.UpdateFrame(commit=pb.Commit(digest=digest)).SerializeToString()


def upload_frames(header: pb.UpdateHeader, data: bytes) -> list[bytes]:
    """A whole and correct upload of ``data``."""
    pieces = [data[i : i + frames.FRAME_BYTES] for i in range(0, len(data), frames.FRAME_BYTES)]
    return [header_frame(header), *map(frames.data_frame, pieces), commit_frame(data)]


class Member:
    """One silo. ``welcome`` and the layouts are there once it has joined."""

    def __init__(self, silo: str, channel: grpc.aio.Channel) -> None:
        self.silo = silo
        self.channel = channel
        self.welcome = pb.Welcome()
        self.down = self.up = Layout(())
        self.examples = 0
        self._session: Any = None

    async def __aenter__(self) -> Member:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            self._session.cancel()
        await self.channel.close()

    # ---- the session

    def open(self, **more: Any) -> None:
        self._session = self.channel.stream_stream("/umbel.v1.Federation/Session")(**more)

    async def say(self, message: pb.ClientMessage | bytes) -> None:
        """Raises grpc.aio.AioRpcError when the server has ended the call with a status other than OK."""
        await self._session.write(message if isinstance(message, bytes) else message.SerializeToString())

    async def hello(self, versions: Iterable[int] = (1,)) -> None:
        await self.say(pb.ClientMessage(hello=pb.Hello(protocol_versions=versions, software="by hand")))

    async def declare(self, examples: int) -> None:
        await self.say(pb.ClientMessage(declare=pb.Declare(num_examples=examples)))

    async def decline(self, task: pb.Task) -> None:
        reason = pb.DECLINE_ERROR
        message = pb.Decline(round=task.round, attempt=task.attempt, phase=task.phase, reason=reason)
        await self.say(pb.ClientMessage(decline=message))

    async def hear(self) -> pb.ServerMessage | None:
        """The next message; None at the end of the stream. Raises grpc.aio.AioRpcError."""
        async with asyncio.timeout(PATIENCE):
            got = await self._session.read()
        return None if got is grpc.aio.EOF else pb.ServerMessage.FromString(got)

    async def expect(self, kind: str) -> Any:
        """The next message, which has to be of this kind."""
        message = await self.hear()
        assert message is not None, f"the stream ended instead of {kind}"
        assert message.WhichOneof("kind") == kind, message
        return getattr(message, kind)

    async def task(self, phase: int = pb.TRAIN, *, after: int = 0) -> pb.Task:
        """The next task of a round beyond ``after``; what else the server says meanwhile is passed over."""
        while (message := await self.hear()) is not None:
            if message.WhichOneof("kind") == "task" and message.task.phase == phase and message.task.round > after:
                return message.task
        raise AssertionError("the stream ended instead of a task")

    async def join(self, examples: int) -> None:
        self.open()
        await self.hello()
        self.welcome = await self.expect("welcome")
        self.down, self.up = as_layout(self.welcome.model_layout), as_layout(self.welcome.update_layout)
        self.examples = examples
        await self.declare(examples)

    # ---- transfers

    async def model(self, version: int) -> Flat:
        """The model as it came, header, length and digest checked by hand. Raises grpc.aio.AioRpcError."""
        request = pb.GetModelRequest(job_uid=UID, model_version=version).SerializeToString()
        call = self.channel.unary_stream("/umbel.v1.Federation/GetModel")(request, timeout=PATIENCE)
        first, *middle, last = [pb.ModelFrame.FromString(frame) async for frame in call]
        data = b"".join(frame.data for frame in middle)
        assert (first.header.model_version, first.header.length) == (version, len(data))
        assert last.commit.digest == xxhash.xxh3_128(data).digest()
        into = self.down.empty()
        into[:] = np.frombuffer(data, np.uint8)
        return into

    def header(self, task: pb.Task, **changed: Any) -> pb.UpdateHeader:
        values: dict[str, Any] = {
            "job_uid": UID,
            "epoch": task.epoch,
            "round": task.round,
            "attempt": task.attempt,
            "length": self.up.nbytes,
            "steps_done": 8,
            "steps_planned": 8,
        }
        return pb.UpdateHeader(**{**values, **changed})

    def upload(self, **more: Any) -> Any:
        """A PutUpdate call to be written to frame by frame."""
        return self.channel.stream_unary("/umbel.v1.Federation/PutUpdate")(timeout=PATIENCE, **more)

    async def begin_upload(self, task: pb.Task, sent: Iterable[bytes]) -> Any:
        """An upload that goes on: returns the call once the server has had these frames."""
        call = self.upload()
        for frame in sent:
            await call.write(frame)
        # Frames of one connection arrive in order: what is answered now came after them.
        assert (await self.evaluate(task, 0, {})).reason == pb.BAD_EXAMPLES
        return call

    async def put(self, sent: Iterable[bytes], **more: Any) -> pb.Ack:
        """Send these frames and end the stream. Raises grpc.aio.AioRpcError."""
        repeated = list(sent)

        async def one_by_one() -> AsyncIterator[bytes]:
            for frame in repeated:
                yield frame

        async def once() -> pb.Ack:
            call = self.channel.stream_unary("/umbel.v1.Federation/PutUpdate")
            return pb.Ack.FromString(await call(one_by_one(), timeout=PATIENCE, **more))

        return await answered(once)

    async def evaluate(self, task: pb.Task, examples: int, metrics: dict[str, float], uid: str = UID) -> pb.Ack:
        report = pb.Evaluation(
            job_uid=uid,
            round=task.round,
            attempt=task.attempt,
            epoch=task.epoch,
            num_examples=examples,
            metrics=metrics,
        )
        call = self.channel.unary_unary("/umbel.v1.Federation/PutEvaluation")
        return pb.Ack.FromString(await call(report.SerializeToString(), timeout=PATIENCE))


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """``call``, again while grpcio's client loses the server's answer: it does when that comes before the client has
    sent everything, and reports INTERNAL of its own. Raises grpc.aio.AioRpcError for what the server said."""
    with awaited("an answer that grpcio does not lose") as check:
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.details() != "Internal error from Core":
                    raise
            check()


def update_of(layout: Layout, seed: int) -> Flat:
    """A plausible update: every tensor of the layout has values of its own."""
    generator = np.random.default_rng(seed)
    flat = layout.empty()
    for view in layout.views(flat).values():
        if view.dtype.kind == "f":
            view[...] = generator.normal(size=view.shape)
        else:
            view[...] = generator.integers(-40, 40, size=view.shape)
    return flat


def spoiled(layout: Layout, flat: Flat, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The bytes of a copy that ``change`` wrote into, tensor by name."""
    copy = layout.empty()
    copy[:] = flat
    change(layout.views(copy))
    return copy.tobytes()
