"""Every rank but the first: does what rank 0 does, for as long as rank 0 is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import Any

from umbel.client.api import Client
from umbel.client.context import Context
from umbel.client.ranks import meeting
from umbel.client.ranks.leader import placed
from umbel.client.ranks.messages import ChannelError, Message, receive, send
from umbel.client.ranks.place import Place
from umbel.client.ranks.points import Points
from umbel.client.seeding import seed_globals
from umbel.client.silo import Site
from umbel.client.steps import Progress
from umbel.client.worker import Worker
from umbel.wire.credentials import Credentials
from umbel.wire.layout import Array

log = logging.getLogger("umbel.client")

METHODS = frozenset({"num_examples", "fit", "evaluate", "training_loss", "finished"})


class Follower:
    def __init__(self, app: Client, site: Site, place: Place, host: str, port: int) -> None:
        self._app = app
        self._site = site
        self._place = place
        self._rendezvous = f"tcp://{host}:{port}"
        self._points = Points()
        self._worker = Worker()
        self._calling: asyncio.Task[None] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until rank 0 says that it ends. Raises ChannelError."""
        sending = asyncio.Lock()

        async def answer(message: Message) -> None:
            async with sending:
                await send(writer, message)

        try:
            while True:
                message, parameters = await receive(reader)
                if message["kind"] == "end":
                    return
                if message["kind"] == "hold":
                    await answer({"kind": "passed", "points": self._points.hold()})
                elif message["kind"] == "go_on":
                    self._points.go_on(int(message["limit"]))
                elif message["kind"] == "call":
                    self._points = Points()
                    self._calling = asyncio.create_task(self._call(message, parameters, answer))
        finally:
            self._worker.close()
            if self._calling is not None:
                self._calling.cancel()

    async def _call(self, message: Message, parameters: dict[str, Array], answer: Any) -> None:
        error = await self._worker.run(self._perform, message, parameters, self._points)
        with contextlib.suppress(ChannelError):  # noticed by who reads it
            await answer({"kind": "done", "error": error})

    def _perform(self, message: Message, parameters: dict[str, Array], points: Points) -> str:
        """One call of the user's code; the type of what it raised, or ""."""
        site, method = self._site, message["method"]
        if method not in METHODS:
            return f"{method} is no method of a client"
        progress = Progress(ask=points.stop_here)
        ctx = Context(
            *(site.silo, site.dataset, message["config"], message["seed"], message["round"], site.state),
            *(message["strategy"], message["strategy_parameters"], progress),
        )
        ctx = placed(ctx, self._place, self._rendezvous)
        seed_globals(ctx.seed, ctx.round, site.silo)
        try:
            call = getattr(self._app, method)
            call(ctx) if method == "num_examples" else call(parameters, ctx)
        except (Exception, SystemExit) as error:
            log.exception("the client's `%s` raised; rank 0 is told", method)
            return f"`{method}` raised {type(error).__name__}"
        return ""


async def follow(app: Client, site: Site, place: Place, credentials: Credentials, lost: int) -> int:
    """The exit code: 0 at rank 0's end, or ``lost`` when it is gone. Signals are rank 0's to heed."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    writer = None
    try:
        addresses = await meeting.find(meeting.place_of(site.state, place))
        host, reader, writer = await meeting.dial(addresses, credentials)
        await send(writer, {"kind": "hello", "rank": place.rank, "size": place.size, "attempt": place.attempt})
        welcome, _ = await receive(reader)
        if welcome["kind"] != "welcome":
            raise ChannelError("rank 0 does not welcome this rank")
        log.info("rank %d of %d: ready", place.rank, place.size)
        await Follower(app, site, place, host, addresses.free_port).serve(reader, writer)
    except ChannelError as error:
        log.error("rank %d: %s", place.rank, error)
        return lost
    finally:
        if writer is not None:
            await meeting.close(writer)
    return 0
