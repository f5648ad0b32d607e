"""Stands between the operator and the API server, counts what the operator writes, cuts it off at one call, or holds
calls up."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Connections(aiohttp.TCPConnector):
    """Those that aiohttp closed in the middle of an answer are still saying good-bye in TLS when the session has been
    closed: nobody waits for that, and the loop would end before it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(ssl=context, limit=0)
        self._made: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        self._made.add(connection.transport)
        return connection

    def abort(self) -> None:
        for transport in self._made:
            transport.abort()


@dataclass
class Cut:
    """At the first call for which ``which`` is true (of method and path, and of the number of a write, from 1; of a
    read 0) ``kill`` is called. ``before``: the API server never hears of that call; else it has done it, and the caller
    never hears. ``met``: that call, once it was."""

    which: Callable[[str, int], bool]
    kill: Callable[[], None]
    before: bool = False
    met: str = ""

    def meets(self, call: str, number: int, *, before: bool) -> bool:
        if self.met or self.before != before or not self.which(call, number):
            return False
        self.met = call
        self.kill()
        return True


class Proxy:
    """``calls``: method and path of every write, in order. ``held``: of everything that was asked while it was held
    up, or told on a watch."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self.calls: list[str] = []
        self.answers: list[tuple[str, int]] = []  # path fragment → status to answer once instead
        self.too_old = 0  # so many watches are answered that they would go on from too long ago
        self.cut: Cut | None = None
        self.held: list[str] = []
        self.url = ""
        self.stop: Callable[[], object] = lambda: None
        self._server = server
        self._context = context
        self._watches: set[asyncio.Task[Any]] = set()
        self._holds: Callable[[str], bool] = lambda _: False
        self._released = threading.Event()

    def reset(self, cut: Cut | None = None) -> None:
        self.calls.clear()
        self.cut = cut

    @contextlib.contextmanager
    def holding(self, which: Callable[[str], bool]) -> Iterator[None]:
        """Of method and path with its query: such calls are not answered, and such watches bring nothing, meanwhile."""
        before = self._holds
        self.held.clear()
        self._hold(which)
        try:
            yield
        finally:
            self._hold(before)

    def _hold(self, which: Callable[[str], bool]) -> None:
        self._holds, asked_again = which, self._released
        self._released = threading.Event()
        asked_again.set()

    @property
    def watches(self) -> int:
        return len(self._watches)

    def cut_watches(self) -> int:
        """How many there were: their connections end in the middle of a line, or of nothing."""
        cut = list(self._watches)
        for task in cut:
            task.get_loop().call_soon_threadsafe(task.cancel)
        return len(cut)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch=" not in request.query_string:
            return await self._pass_on(request)
        if self.too_old:
            self.too_old -= 1
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
            return web.json_response({"type": "ERROR", "object": {**status, "message": "too old resource version"}})
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            return await self._pass_on(request)
        finally:
            self._watches.discard(task)

    async def _pass(self, call: str) -> None:
        """Returns when that is not, or no more, held up."""
        released = self._released
        while self._holds(call):
            self.held.append(call)
            await asyncio.to_thread(released.wait)
            released = self._released

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        for number, (fragment, status) in enumerate(self.answers):
            if fragment in request.path_qs and request.method in WRITES:
                del self.answers[number]
                return web.json_response({"kind": "Status", "code": status, "reason": "Test"}, status=status)
        call = f"{request.method} {request.path_qs}"
        await self._pass(call)
        number = self._counted(request)
        if self.cut is not None and self.cut.meets(call, number, before=True):
            raise web.HTTPServiceUnavailable
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k in ("Accept", "Content-Type")}
        target = self._server + request.raw_path
        asked = self._session.request(request.method, target, data=body or None, headers=headers)
        async with asked as answer:
            if self.cut is not None and self.cut.meets(call, number, before=False):
                raise web.HTTPServiceUnavailable
            reply = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await reply.prepare(request)
                async for block in answer.content.iter_any():
                    await self._pass(call)
                    await reply.write(block)
            return reply

    def _counted(self, request: web.Request) -> int:
        """Which write it is; 0: none. Heartbeats come at any time."""
        if request.method not in WRITES or "/leases/" in request.path:
            return 0
        self.calls.append(f"{request.method} {request.path}")
        return len(self.calls)

    async def serve(self, ready: threading.Event) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self.stop = lambda: loop.call_soon_threadsafe(stop.set)
        connector = Connections(self._context)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        async with self._session:
            app = web.Application(client_max_size=1 << 22)
            app.router.add_route("*", "/{path:.*}", self.handle)
            runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await stop.wait()
            watches = asyncio.all_tasks() - {asyncio.current_task()}  # they would go on for ever
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await runner.cleanup()
        connector.abort()


@contextlib.contextmanager
def between(kubeconfig: Path) -> Iterator[Proxy]:
    """With the rights of the kubeconfig; callers need none of their own."""
    from umbel_operator.access import kubeconfig as read

    access = read(kubeconfig)
    context = access.tls()
    assert context is not None
    proxy, ready = Proxy(access.server, context), threading.Event()
    # `asyncio.run` gives the loop the turns that closing connections need
    thread = threading.Thread(target=lambda: asyncio.run(proxy.serve(ready)), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(20)
        assert not thread.is_alive()


def kubeconfig_for(proxy: Proxy, path: Path) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "p", "cluster": {"server": proxy.url}}],
        "users": [{"name": "p", "user": {}}],
        "contexts": [{"name": "p", "context": {"cluster": "p", "user": "p"}}],
        "current-context": "p",
    }
    path.write_text(yaml.safe_dump(config))
    return path
