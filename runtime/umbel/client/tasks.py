"""The task at hand: fetching its model, having it done in the worker thread, and telling the server the result until
the server has answered or the time is up.

There is at most one. A new task drops the old one; the same task again, on a new session, is gone on with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from umbel.client.backoff import Backoff
from umbel.client.eligibility.guard import Guard
from umbel.client.line import Line, Link
from umbel.client.messages import declare
from umbel.client.silo import AppError, Silo
from umbel.client.work import Key, Work
from umbel.client.worker import Worker
from umbel.wire import umbel_pb2 as pb
from umbel.wire.transport import TransportError

log = logging.getLogger("umbel.client")

LATE_SECONDS = 1.0  # a message's travel: the server closes the round, not this clock


class Tasks:
    def __init__(
        self, silo: Silo, worker: Worker, line: Line, backoff: Callable[[], Backoff], guard: Guard | None
    ) -> None:
        self._silo = silo
        self._worker = worker
        self._line = line
        self._backoff = backoff
        self._guard = guard
        self._work: Work | None = None
        self._doing: asyncio.Task[None] | None = None
        self._leaving = False
        self._recovering: asyncio.Task[None] | None = None

    def begin(self, task: pb.Task) -> None:
        """A task came: start it, or go on if it is the one at hand (its result is sent again if it is ready)."""
        loop = asyncio.get_running_loop()
        work = self._work
        if work is None or work.dropped or work.key != Key(task.phase, task.epoch, task.round, task.attempt):
            if self._leaving:
                return
            self.drop()
            work = self._work = Work(task, loop.time() + task.seconds_left)
        elif self._doing is not None and not self._doing.done():
            return
        self._doing = loop.create_task(self._do(work))

    def wrap_up(self, message: pb.WrapUp) -> None:
        if self._work is not None and self._work.is_for(pb.TRAIN, message.round, message.attempt):
            self._work.wrap_up()

    def cancel(self, message: pb.Cancel) -> None:
        if self._work is not None and self._work.is_for(message.phase, message.round, message.attempt):
            self.drop()

    async def leave(self) -> None:
        """Wrap up the work at hand; returns when the server has its result, or nobody wants it. No other is begun."""
        self._leaving = True
        if self._work is not None:
            self._work.wrap_up()
        if self._doing is not None:
            await asyncio.wait([self._doing])

    def epoch(self, epoch: int) -> None:
        """The server said which start of its own this is: what an earlier one asked for is void."""
        if self._work is not None and self._work.task.epoch != epoch:
            self.drop()

    def drop(self) -> None:
        """Nobody wants the result: the user's code is told to stop, and nothing is sent."""
        if self._work is not None:
            self._work.drop()
        if self._doing is not None:
            self._doing.cancel()
        self._work = self._doing = None

    def close(self) -> None:
        self.drop()
        if self._recovering is not None:
            self._recovering.cancel()

    async def fetch(self, link: Link, version: int, digest: str) -> None:
        """Have the model of that digest in the receive buffer. Raises TransportError.

        To be called while the worker is idle: it writes where the next working copy is made from.
        """
        exchange = self._silo.exchange
        if digest and exchange.held == digest:
            return
        exchange.held = ""
        request = pb.GetModelRequest(job_uid=self._silo.job_uid, model_version=version)
        received = await link.connection.get_model(request, exchange.model)
        if received.hex() != digest:
            raise TransportError("the model that came is not the one that was announced", retry=True)
        exchange.held = digest

    async def _do(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        warning = loop.call_at(work.deadline - work.task.grace_seconds, work.wrap_up)  # should the session be down
        try:
            async with asyncio.timeout_at(work.deadline + LATE_SECONDS):
                if work.outcome is None:
                    await self._perform(work)
                await self._insist(work, lambda link: self._tell(link, work))
        except TimeoutError:
            work.drop()
            log.warning("round %d: the time was up before this silo was done", work.task.round)
        except TransportError as error:
            log.warning("round %d: %s", work.task.round, error)
        finally:
            warning.cancel()

    async def _perform(self, work: Work) -> None:
        if self._guard is not None and not await self._guard.admits(work):
            return
        await self._worker.idle()
        task = work.task

        async def fetched(link: Link) -> bool:
            await self.fetch(link, task.model_version, task.model_digest)
            return True

        await self._insist(work, fetched)
        performing = self._worker.run(self._silo.perform, work)
        work.outcome = await (performing if self._guard is None else self._guard.watch(work, performing))
        if task.phase == pb.TRAIN and not work.not_eligible:
            await self._recount()

    async def _recount(self) -> None:
        """Declare the number of examples again if it changed; a session that is down declares it when it is back."""
        before = self._silo.examples
        try:
            now = await self._worker.run(self._silo.count)
        except AppError as error:
            log.error("%s; the silo's last count stays", error)
            return
        if now != before:
            link = await self._line.get()
            with contextlib.suppress(TransportError):
                await link.send(declare(now))

    async def _insist(self, work: Work, exchange: Callable[[Link], Awaitable[bool]]) -> None:
        """Repeat one exchange, with jitter, until it is true. Raises TransportError when trying again is no use."""
        backoff = self._backoff()
        while not work.dropped:
            link = await self._line.get()
            try:
                if await exchange(link):
                    return
            except TransportError as error:
                if not error.retry:
                    raise
                log.warning("round %d: %s; trying again", work.task.round, error)
            await asyncio.sleep(backoff.next())

    async def _tell(self, link: Link, work: Work) -> bool:
        outcome = work.outcome
        assert outcome is not None, "told only when performed"
        if outcome.decline is not None:
            await link.send(pb.ClientMessage(decline=outcome.decline))
            if work.not_eligible and (self._recovering is None or self._recovering.done()):
                self._recovering = asyncio.get_running_loop().create_task(self._recover())
            return True
        if outcome.update is not None:
            header = outcome.update
            ack = await link.connection.put_update(header, lambda: self._frames(header.gradients))
        else:
            assert outcome.evaluation is not None, "an outcome is one of three"
            ack = await link.connection.put_evaluation(outcome.evaluation)
        return _settled(work, ack)

    async def _recover(self) -> None:
        """Who was not eligible is invited again from his next Declare on; a new session brings one by itself."""
        if self._guard is not None:
            await self._guard.recovered()
            link = await self._line.get()
            with contextlib.suppress(TransportError):
                await link.send(declare(self._silo.examples))

    async def _frames(self, gradients: bool) -> AsyncIterator[memoryview]:
        for frame in self._silo.exchange.frames(gradients=gradients):
            yield frame


def _settled(work: Work, ack: pb.Ack) -> bool:
    """Whether the server's answer is its last word on this result."""
    what = "update" if work.task.phase == pb.TRAIN else "evaluation"
    if ack.code == pb.TRY_AGAIN:
        return False
    if ack.code == pb.ACCEPTED:
        log.info("round %d: %s accepted (%d steps)", work.task.round, what, work.progress.done)
    elif ack.code == pb.ROUND_CLOSED:
        log.warning("round %d: the %s came too late", work.task.round, what)
    else:
        reason = pb.RejectReason.Name(ack.reason) if ack.reason in pb.RejectReason.values() else str(ack.reason)
        log.error("round %d: the server refused the %s: %s", work.task.round, what, reason)
    return True
