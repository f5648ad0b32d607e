"""Rank 0: the user's client, called at every rank at once.

`Leader` is itself a client, so that what is behind it, tasks, updates, state, is as for a client of one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from umbel.client.api import Client, Evaluation, Update
from umbel.client.context import Context
from umbel.client.ranks import meeting
from umbel.client.ranks.meeting import Addresses
from umbel.client.ranks.messages import LINE_BYTES, ChannelError, receive, send
from umbel.client.ranks.peer import Peer
from umbel.client.ranks.place import Place
from umbel.client.ranks.points import Points
from umbel.client.steps import Progress
from umbel.wire.credentials import Credentials
from umbel.wire.layout import Array

Result = TypeVar("Result")

log = logging.getLogger("umbel.client")

PATIENCE = 60.0  # for the other ranks to return, once a rank has failed: they may wait for it in vain


class RankError(Exception):
    """A call failed at another rank; its log says why."""


class RankLost(Exception):
    """A rank is gone, or does not return: only a new start of all of them helps."""


class Leader(Client):
    def __init__(self, app: Client, place: Place, rendezvous: str, patience: float = PATIENCE) -> None:
        self._app = app
        self._place = place
        self._rendezvous = rendezvous
        self._patience = patience
        self._peers: dict[int, Peer] = {}
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._progress: Progress | None = None  # of the call at hand
        self._giving_up: asyncio.TimerHandle | None = None

    # ---- the event loop's side

    def admit(self, rank: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers[rank] = Peer(rank, reader, writer, self._failed, self._lose)

    @property
    def complete(self) -> bool:
        return len(self._peers) == self._place.size - 1

    def has(self, rank: int) -> bool:
        return rank in self._peers

    async def guard(self, work: Coroutine[Any, Any, Result]) -> Result:
        """``work``, ended by the loss of a rank. Raises RankLost."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise RankLost(self._lost.result())
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def end(self) -> None:
        """The other ranks end too, without a fault: rank 0's exit code is that of all."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        await asyncio.gather(*(peer.end() for peer in self._peers.values()))

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _failed(self, reason: str) -> None:
        """The others are told to stop; those that wait for the one that failed cannot hear it."""
        log.error("%s; the others are told to stop", reason)
        if self._progress is not None:
            self._progress.stop.set()
        self._be_patient(reason)

    def _be_patient(self, reason: str) -> None:
        if self._giving_up is None:
            words = f"{reason}; another rank has not returned within {self._patience:g} s after it"
            self._giving_up = self._loop.call_later(self._patience, self._lose, words)

    async def _begin(self, message: dict[str, Any], parameters: Mapping[str, Array]) -> None:
        await asyncio.gather(*(peer.call(message, parameters) for peer in self._peers.values()))

    async def _agree(self, points: Points) -> None:
        """All ranks come to stop at the same point: the furthest that one of them is at."""
        limit = points.hold()
        try:
            limit = max(limit, *await asyncio.gather(*(peer.hold() for peer in self._peers.values())))
            await asyncio.gather(*(peer.go_on(limit) for peer in self._peers.values()))
        finally:
            points.go_on(limit)

    async def _all_done(self) -> None:
        """Raises RankError, or ChannelError."""
        try:
            errors = await asyncio.gather(*(peer.done() for peer in self._peers.values()))
        finally:
            if self._giving_up is not None:
                self._giving_up.cancel()
                self._giving_up = None
        if failed := [f"rank {rank}: {error}" for rank, error in zip(self._peers, errors, strict=True) if error]:
            raise RankError("; ".join(failed))

    async def _abandon(self, points: Points) -> None:
        """The call has failed here: the others are to return soon."""
        self._be_patient("rank 0 failed")
        with contextlib.suppress(RankError, ChannelError):
            if not points.decided:
                await self._agree(points)
            await self._all_done()

    # ---- the user's thread

    def num_examples(self, ctx: Context) -> int:
        return self._together("num_examples", None, ctx, self._app.num_examples)

    def fit(self, parameters: dict[str, Array], ctx: Context) -> Update:
        return self._together("fit", parameters, ctx, lambda own: self._app.fit(parameters, own))

    def evaluate(self, parameters: dict[str, Array], ctx: Context) -> Evaluation:
        return self._together("evaluate", parameters, ctx, lambda own: self._app.evaluate(parameters, own))

    def training_loss(self, parameters: dict[str, Array], ctx: Context) -> float:
        return self._together("training_loss", parameters, ctx, lambda own: self._app.training_loss(parameters, own))

    def finished(self, parameters: dict[str, Array], ctx: Context) -> None:
        self._together("finished", parameters, ctx, lambda own: self._app.finished(parameters, own))

    def initial(self, ctx: Context) -> Mapping[str, Any]:
        """Here alone: what is private of it reaches the others as parameters."""
        return self._app.initial(ctx)

    def _together(
        self, method: str, parameters: Mapping[str, Array] | None, ctx: Context, call: Callable[[Context], Result]
    ) -> Result:
        points, progress = Points(), ctx._progress
        self._progress = progress
        message = {
            "method": method,
            "config": dict(ctx.config),
            "seed": ctx.seed,
            "round": ctx.round,
            "strategy": ctx.strategy,
            "strategy_parameters": dict(ctx.strategy_parameters),
        }
        self._wait(self._begin, message, parameters or {})
        progress.ask = lambda: self._stop_here(points, progress)
        try:
            result = call(placed(ctx, self._place, self._rendezvous))
        except BaseException:
            self._wait(self._abandon, points)
            raise
        finally:
            progress.ask = None
        self._wait(self._all_done)
        return result

    def _stop_here(self, points: Points, progress: Progress) -> bool:
        if progress.stop.is_set() and not points.decided:
            self._wait(self._agree, points)
        return points.stop_here()

    def _wait(self, work: Callable[..., Coroutine[Any, Any, Result]], *args: Any) -> Result:
        """``work`` is called in the loop: one that has ended meanwhile must not leave a coroutine that nobody awaits.
        Raises RuntimeError when the loop is closed."""
        answer: Future[Result] = Future()

        def begin() -> None:
            task = self._loop.create_task(work(*args))
            answer.add_done_callback(lambda _: task.cancel())  # and holds it: the loop does not
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[Result]) -> None:
            if task.cancelled():
                answer.cancel()
            elif (error := task.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        self._loop.call_soon_threadsafe(begin)
        return answer.result()


def placed(ctx: Context, place: Place, rendezvous: str) -> Context:
    return replace(ctx, rank=place.rank, world_size=place.size, local_rank=place.local, rendezvous=rendezvous)


@contextlib.asynccontextmanager
async def leading(
    app: Client, state: Path, place: Place, credentials: Credentials, own_host: str = ""
) -> AsyncIterator[Leader]:
    """Rank 0 with all the others, which end when it does. Raises RankLost when they do not come."""
    leader = await meet(app, state, place, credentials, own_host)
    try:
        yield leader
    finally:
        await leader.end()


async def meet(app: Client, state: Path, place: Place, credentials: Credentials, own_host: str = "") -> Leader:
    """Rank 0 with all the others. Raises RankLost when they do not come."""
    found = meeting.hosts(place, own_host)
    port = meeting.free_port(own_host)
    leader = Leader(app, place, f"tcp://{_reachable(found)}:{port}")
    meeting.forget(state)
    everybody = asyncio.Event()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ChannelError):
            if (rank := await _introduced(reader, writer, place, credentials)) is not None and not leader.has(rank):
                meeting.keep_alive(writer)
                await send(writer, {"kind": "welcome"})
                leader.admit(rank, reader, writer)
                if leader.complete:
                    everybody.set()
                return
        await meeting.close(writer)

    server = await asyncio.start_server(
        welcome, own_host or None, 0, ssl=meeting.listening(credentials), limit=LINE_BYTES
    )
    path = meeting.place_of(state, place)
    try:
        Addresses(found, server.sockets[0].getsockname()[1], port).announce(path)
        async with asyncio.timeout(meeting.MEETING_SECONDS):
            await everybody.wait()
    except TimeoutError:
        await leader.end()
        raise RankLost(f"not all of the {place.size} ranks came within {meeting.MEETING_SECONDS:g} s") from None
    except BaseException:
        await leader.end()
        raise
    finally:
        server.close()
        path.unlink(missing_ok=True)
    log.info("all %d ranks are there", place.size)
    return leader


async def _introduced(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Place, credentials: Credentials
) -> int | None:
    """The rank at the other end; None for anybody else."""
    if not meeting.same_key(writer, credentials):
        return None
    hello, _ = await receive(reader)
    rank = hello.get("rank")
    known = hello["kind"] == "hello" and hello.get("attempt") == place.attempt and hello.get("size") == place.size
    return rank if known and isinstance(rank, int) and 0 < rank < place.size else None


def _reachable(hosts: tuple[str, ...]) -> str:
    """The first of this host's names that it can look up itself."""
    for host in hosts:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, None)
            return host
    return "127.0.0.1"
