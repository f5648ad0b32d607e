"""The session loop: dial, greet, take tasks, and dial again for ever, until the job has ended.

The work at hand lives in `Tasks` and does not notice a reconnect. Whatever cannot be mended by dialling again ends
`Member.run` with an exception whose text is the one line to show.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from umbel.client.api import Client
from umbel.client.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from umbel.client.eligibility.guard import Guard
from umbel.client.line import Line, Link
from umbel.client.messages import PROTOCOL_VERSIONS, declare, heartbeat, hello, layout, stored
from umbel.client.silo import Silo, Site
from umbel.client.tasks import Tasks
from umbel.client.worker import Worker
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import LayoutError
from umbel.wire.transport import Connection, TransportError

log = logging.getLogger("umbel.client")


class Refused(Exception):
    """The server does not want this client, and will not change its mind."""


class Stuck(Exception):
    """The user's code does not return. A new process, without it, can store the final model."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``patience``: for the user's code to stop when the job has ended. ``farewell``: for the server to end
    the session after Stored; closing at once could overtake the message."""

    heartbeat: float = 15.0
    first_retry: float = FIRST_SECONDS
    longest_retry: float = LONGEST_SECONDS
    patience: float = 30.0
    farewell: float = 5.0

    def backoff(self) -> Backoff:
        return Backoff(self.first_retry, self.longest_retry)


class Member:
    """One silo's part in one job. ``connect`` dials the server anew; without a ``guard`` it can always take part."""

    def __init__(
        self,
        app: Client,
        site: Site,
        connect: Callable[[], Awaitable[Connection]],
        pace: Pace | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._app = app
        self._site = site
        self._connect = connect
        self._pace = pace or Pace()
        self._guard = guard
        self._worker = Worker()
        self._line = Line()
        self._silo: Silo | None = None
        self._tasks: Tasks | None = None
        self._backoff = self._pace.backoff()

    async def run(self) -> str:
        """Take part until the job has ended; returns its outcome, Complete or Failed.

        Raises Refused, Stuck, AppError, and TransportError or LayoutError for what no retry can mend.
        """
        try:
            while True:
                if (outcome := await self._try()) is not None:
                    return outcome
                await asyncio.sleep(self._backoff.next())
        finally:
            if self._tasks is not None:
                self._tasks.close()
            self._worker.close()

    async def leave(self, seconds: float) -> None:
        """Before the process ends: send what the work at hand has come to. Returns when that is done, the server is
        gone, or ``seconds`` have passed."""
        log.info("told to end: what is at hand is sent first")
        if self._tasks is None:
            return
        leaving, down = asyncio.ensure_future(self._tasks.leave()), asyncio.ensure_future(self._line.down())
        try:
            await asyncio.wait({leaving, down}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            down.cancel()

    async def _try(self) -> str | None:
        """One session; None to dial again. Raises what dialling again cannot mend."""
        try:
            outcome = await self._connected()
        except TransportError as error:
            if not error.retry:
                raise
            log.warning("%s; dialling again", error)
            return None
        if outcome is None:
            log.warning("the server ended the session; dialling again")
        return outcome

    async def _connected(self) -> str | None:
        """One session from dialling to its end; the job's outcome if it has ended."""
        connection = await self._connect()
        try:
            link = Link(connection, await connection.session())
            await link.send(hello())
            beating = asyncio.create_task(self._beat(link))
            try:
                return await self._converse(link)
            finally:
                beating.cancel()
                self._line.lost()
                await link.session.close()
        finally:
            await connection.close()

    async def _beat(self, link: Link) -> None:
        """A lost session is noticed by who reads it, not here."""
        with contextlib.suppress(TransportError):
            while True:
                await asyncio.sleep(self._pace.heartbeat)
                await link.send(heartbeat())

    async def _converse(self, link: Link) -> str | None:
        messages = aiter(link.session)
        async for message in messages:
            kind = message.WhichOneof("kind")
            if kind == "welcome":
                await self._welcome(link, message.welcome)
            elif kind == "refused":
                _refuse(message.refused)
            elif kind is None:
                pass  # of a later version: nothing that this one promised to understand
            elif self._tasks is None:
                raise TransportError(f"the server sent {kind} before Welcome", retry=False)
            elif kind == "finished":
                return await self._finish(link, message.finished, messages)
            else:
                self._hear(message)
        return None

    def _hear(self, message: pb.ServerMessage) -> None:
        assert self._tasks is not None, "checked by the caller"
        match message.WhichOneof("kind"):
            case "task":
                self._tasks.begin(message.task)
            case "wrap_up":
                self._tasks.wrap_up(message.wrap_up)
            case "cancel":
                self._tasks.cancel(message.cancel)

    async def _welcome(self, link: Link, welcome: pb.Welcome) -> None:
        self._backoff.reset()
        silo = self._silo or await self._join(welcome)
        _require_same(silo, welcome)
        assert self._tasks is not None, "made when the silo joined"
        self._tasks.epoch(welcome.epoch)
        await link.send(declare(silo.examples))
        self._line.connected(link)
        log.info("%s: connected, %d examples declared", welcome.job, silo.examples)

    async def _join(self, welcome: pb.Welcome) -> Silo:
        """The first Welcome: buffers, private parameters, the count of examples. Raises AppError."""
        if welcome.protocol_version not in PROTOCOL_VERSIONS:
            spoken = " and ".join(map(str, PROTOCOL_VERSIONS))
            raise Refused(
                f"the server speaks protocol version {welcome.protocol_version}, this client {spoken}; "
                "update the older one"
            )
        try:
            silo = await self._worker.run(Silo, self._app, self._site, welcome)
        except LayoutError as error:
            raise Refused(f"the server's layouts do not fit this client: {error}") from None
        await self._worker.run(silo.count)
        self._tasks = Tasks(silo, self._worker, self._line, self._pace.backoff, self._guard)
        self._silo = silo
        return silo

    async def _finish(self, link: Link, finished: pb.Finished, messages: AsyncIterator[pb.ServerMessage]) -> str:
        """Store the final model. A TransportError dials again, and the server will say Finished again."""
        assert self._tasks is not None, "Finished comes after Welcome"
        assert self._silo is not None, "Finished comes after Welcome"
        self._tasks.drop()
        try:
            async with asyncio.timeout(self._pace.patience):
                await self._worker.idle()
        except TimeoutError:
            raise Stuck("the client's code did not stop when the job ended; start the client anew") from None
        if finished.has_model:
            await self._tasks.fetch(link, finished.model_version, finished.model_digest)
            path = await self._worker.run(self._silo.finish, finished.model_version)
            log.info("the final model is in %s", path)
            with contextlib.suppress(TransportError, TimeoutError):  # it is stored; the server may already be gone
                await link.send(stored())
                async with asyncio.timeout(self._pace.farewell):
                    async for _ in messages:
                        pass
        log.info("the job has ended: %s%s", finished.outcome, f" ({finished.reason})" if finished.reason else "")
        return finished.outcome


def _refuse(refused: pb.Refused) -> None:
    name = pb.RefusalReason.Name(refused.reason) if refused.reason in pb.RefusalReason.values() else "REFUSED"
    text = f"the server refused this client: {name}: {refused.message}"
    if refused.permanent:
        raise Refused(text)
    raise TransportError(text, retry=True)


def _require_same(silo: Silo, welcome: pb.Welcome) -> None:
    """A process serves one job: buffers and private parameters are that job's. Raises Refused."""
    if welcome.job_uid != silo.job_uid or layout(welcome.model_layout) != silo.exchange.down:
        raise Refused("another job, or another model, runs at this address now; start the client anew")
