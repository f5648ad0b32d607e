"""What members meet: the four exchanges, checked in the order identity → membership → token → quota → bytes → digest →
values, before the engine hears of anything.

Nothing here names a silo in a log, a count or an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor

import numpy as np
import xxhash
from numpy.typing import NDArray

from umbel.aggregation import checks
from umbel.job import FederatedJob
from umbel.rounds import events as ev
from umbel.server import messages
from umbel.server.conductor import Arrival, Conductor
from umbel.server.sessions import Channel, Sessions
from umbel.server.traffic import Traffic
from umbel.server.uploads import TRY_AGAIN, Upload, Uploads
from umbel.wire import umbel_pb2 as pb
from umbel.wire.frames import FrameError
from umbel.wire.layout import Layout
from umbel.wire.transport import Broadcast, Bytes, Refusal

HELLO_SECONDS = 10.0
DECLARE_SECONDS = 600.0  # counting one's examples may mean opening a large data set
FIRST_BYTES_SECONDS = 5.0


class FederationService:
    """Implements `umbel.wire.transport.Service`."""

    def __init__(
        self,
        *,
        job: FederatedJob,
        uid: str,
        conductor: Conductor,
        sessions: Sessions,
        uploads: Uploads,
        traffic: Traffic,
        executor: Executor,
        layouts: tuple[Layout, Layout],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._uid = uid
        self._conductor = conductor
        self._sessions = sessions
        self._uploads = uploads
        self._traffic = traffic
        self._executor = executor
        self._down, self._up = layouts
        self._clock = clock

    def certificate_seen(self, silo: str, expires: float) -> None:
        self._sessions.certificate_seen(silo, expires)

    def turned_away(self) -> None:
        self._traffic.joins["unidentified"] += 1

    # ---- the session

    async def session(
        self, silo: str, inbound: AsyncIterator[pb.ClientMessage]
    ) -> AsyncGenerator[pb.ServerMessage, None]:
        version = await self._greet(silo, inbound)
        if isinstance(version, str):
            self._traffic.joins["refused"] += 1
            yield pb.ServerMessage(refused=messages.refused(version))
            return
        engine = self._conductor.engine
        yield messages.welcome(version, self._job, self._uid, engine.epoch, self._down, self._up)
        channel = self._sessions.open(silo)
        listening = asyncio.create_task(self._listen(channel, inbound))
        try:
            async for message in channel.outbound():
                yield message
        finally:
            listening.cancel()
            self._sessions.close(channel)
            self._conductor.feed(ev.Left(silo, channel.number))

    async def _greet(self, silo: str, inbound: AsyncIterator[pb.ClientMessage]) -> int | str:
        """The version to speak, or the reason of a refusal."""
        # Hello is read first: a stream that ends while the client still writes loses the refusal on its side.
        first = await _next(inbound, HELLO_SECONDS)
        if not self._conductor.engine.members_known:
            return "NOT_READY"
        if not self._conductor.engine.is_member(silo):
            return "NOT_A_MEMBER"
        if first is None or first.WhichOneof("kind") != "hello":
            return "PROTOCOL_ERROR"
        return messages.common_version(first.hello.protocol_versions) or "NO_COMMON_VERSION"

    async def _listen(self, channel: Channel, inbound: AsyncIterator[pb.ClientMessage]) -> None:
        """Until the client is gone or breaks the protocol; either way the channel ends."""
        try:
            message = await _next(inbound, DECLARE_SECONDS, skip="heartbeat")
            if message is None:
                return
            refusal = self._declare(channel, message, joining=True)
            async for message in inbound if refusal is None else _nothing():
                refusal = self._hear(channel, message)
                if refusal is not None:
                    break
            if refusal is not None:
                self._traffic.joins["refused"] += 1
                channel.end(messages.refused(refusal))
        finally:
            channel.end()

    def _declare(self, channel: Channel, message: pb.ClientMessage, *, joining: bool) -> str | None:
        if message.WhichOneof("kind") != "declare":
            return "PROTOCOL_ERROR"
        examples = message.declare.num_examples
        if not 1 <= examples <= self._job.spec.limits.max_examples:
            return "BAD_EXAMPLE_COUNT"
        if joining:
            self._traffic.joins["accepted"] += 1
            self._conductor.join(channel, examples)
        else:
            self._conductor.feed(ev.Declared(channel.silo, channel.number, examples))
        return None

    def _hear(self, channel: Channel, message: pb.ClientMessage) -> str | None:
        match message.WhichOneof("kind"):
            case "declare":
                return self._declare(channel, message, joining=False)
            case "decline":
                it = message.decline
                reason = pb.DeclineReason.Name(it.reason) if it.reason in pb.DeclineReason.values() else "UNSPECIFIED"
                evaluation = it.phase == pb.EVALUATE
                self._conductor.feed(ev.Declined(channel.silo, it.round, it.attempt, evaluation, reason))
            case "stored":
                self._sessions.stored(channel)
            case "heartbeat":
                pass
            case _:
                return "PROTOCOL_ERROR"
        return None

    # ---- the model

    async def get_model(self, silo: str, request: pb.GetModelRequest) -> Broadcast:
        self._admit(silo, request.job_uid, "GetModel")
        model = await self._conductor.models.fetch(request.model_version)
        if model is None:
            self._traffic.requests["GetModel", "NOT_FOUND"] += 1
            raise Refusal("NOT_FOUND", "this version of the model is not the present one")
        self._traffic.requests["GetModel", "OK"] += 1
        self._traffic.down += model.length
        return model

    def _admit(self, silo: str, job_uid: str, method: str) -> None:
        if not self._conductor.engine.is_member(silo):
            self._traffic.requests[method, "PERMISSION_DENIED"] += 1
            raise Refusal("PERMISSION_DENIED", "not a member of this job")
        if job_uid != self._uid:
            self._traffic.requests[method, "FAILED_PRECONDITION"] += 1
            self._traffic.refused["OTHER_JOB"] += method == "PutUpdate"
            raise Refusal("FAILED_PRECONDITION", "this server runs another job")

    # ---- updates

    async def put_update(self, silo: str, header: pb.UpdateHeader, frames: AsyncIterator[Bytes | pb.Commit]) -> pb.Ack:
        self._admit(silo, header.job_uid, "PutUpdate")
        self._traffic.requests["PutUpdate", "OK"] += 1
        token = (header.epoch, header.round, header.attempt)
        if (verdict := self._conductor.engine.check_upload(silo, *token)) is not None:
            if verdict == ("REJECTED", "NOT_IN_COHORT"):
                self._traffic.refused["NOT_IN_COHORT"] += 1
            return messages.ack(*verdict)
        if (fault := self._fault(header)) is not None:
            return self._spoiled(silo, header, fault)
        upload = Upload(silo)
        task = asyncio.create_task(self._take(upload, header, frames))
        return await self._uploads.admit(upload, task)

    def _fault(self, header: pb.UpdateHeader) -> str | None:
        """What the header alone gives away."""
        if header.length != self._up.nbytes:
            return "WRONG_LENGTH"
        if header.steps_planned and header.steps_done > header.steps_planned:
            return "MALFORMED"
        needed = self._conductor.strategy.scalars
        if any(not np.isfinite(header.scalars.get(name, np.nan)) for name in needed):
            return "MISSING_SCALAR"
        return None

    async def _take(self, upload: Upload, header: pb.UpdateHeader, frames: AsyncIterator[Bytes | pb.Commit]) -> pb.Ack:
        async with self._uploads.slot(upload) as buffer:
            began = self._clock()
            try:
                fault = await self._receive(upload, buffer, frames)
            except FrameError:
                fault = "MALFORMED"
            if fault is not None:
                return self._spoiled(upload.silo, header, fault)
            loop = asyncio.get_running_loop()
            limit = self._job.spec.limits.max_abs
            examined = await loop.run_in_executor(self._executor, checks.examine, buffer, self._up, limit)
            if examined.fault is not None:
                return self._spoiled(upload.silo, header, examined.fault)
            event = _arrived(upload.silo, header, examined.norm)
            if (fault := self._conductor.refusal(event)) is not None:
                return self._spoiled(upload.silo, header, fault)
            arrival = Arrival(event, buffer, self._clock() - began)
            upload.decided = True
            self._conductor.feed(event, arrival)
            if arrival.fold is None:
                buffer[:] = 0
            else:
                await asyncio.wrap_future(arrival.fold)
            assert arrival.ack is not None, "the engine answers every arrival"
            return arrival.ack

    async def _receive(
        self, upload: Upload, buffer: NDArray[np.uint8], frames: AsyncIterator[Bytes | pb.Commit]
    ) -> str | None:
        """Fill ``buffer``; the name of what is wrong, or None once length and digest agree."""
        target = buffer.data
        digest = xxhash.xxh3_128()
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS):
                frame = await anext(frames, None)
        except TimeoutError:
            return "TRUNCATED"
        while isinstance(frame, bytes | bytearray | memoryview):
            end = upload.received + len(frame)
            if end > len(target):
                return "WRONG_LENGTH"
            target[upload.received : end] = frame
            digest.update(frame)
            upload.received = end
            self._traffic.up += len(frame)
            frame = await anext(frames, None)
        if frame is None:
            return "TRUNCATED"
        if upload.received != len(target):
            return "WRONG_LENGTH"
        return None if frame.digest == digest.digest() else "WRONG_DIGEST"

    def unreadable(self, silo: str) -> None:
        if self._conductor.engine.is_member(silo):
            self._traffic.refused["MALFORMED"] += 1

    def _spoiled(self, silo: str, header: pb.UpdateHeader, fault: str) -> pb.Ack:
        if fault == "TRUNCATED":
            self._traffic.refused[fault] += 1
        self._conductor.feed(ev.UpdateSpoiled(silo, header.round, header.attempt, fault))
        return TRY_AGAIN if fault == "TRUNCATED" else messages.ack("REJECTED", fault)

    # ---- evaluations

    async def put_evaluation(self, silo: str, report: pb.Evaluation) -> pb.Ack:
        self._admit(silo, report.job_uid, "PutEvaluation")
        self._traffic.requests["PutEvaluation", "OK"] += 1
        if not 1 <= report.num_examples <= self._job.spec.limits.max_examples:
            return messages.ack("REJECTED", "BAD_EXAMPLES")
        event = ev.EvaluationArrived(
            silo, report.epoch, report.round, report.attempt, report.num_examples, dict(report.metrics)
        )
        arrival = Arrival(event)
        self._conductor.feed(event, arrival)
        assert arrival.ack is not None, "the engine answers every arrival"
        return arrival.ack


def _arrived(silo: str, header: pb.UpdateHeader, norm: float) -> ev.UpdateArrived:
    return ev.UpdateArrived(
        silo=silo,
        epoch=header.epoch,
        round=header.round,
        attempt=header.attempt,
        steps_done=header.steps_done,
        steps_planned=header.steps_planned,
        gradients=header.gradients,
        norm=norm,
        scalars=dict(header.scalars),
    )


async def _next(inbound: AsyncIterator[pb.ClientMessage], seconds: float, skip: str = "") -> pb.ClientMessage | None:
    """The next message of another kind than ``skip``; None when the client left or took too long."""
    with contextlib.suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(seconds):
            while (message := await anext(inbound)).WhichOneof("kind") == skip:
                pass
            return message
    return None


async def _nothing() -> AsyncIterator[pb.ClientMessage]:
    return
    yield
