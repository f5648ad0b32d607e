"""Stands between the operator and the API server, counts what the operator writes, and cuts it off at one call."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
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


class Proxy:
    """``calls``: method and path of every write, in order. At number ``at`` (from 1) ``cut`` is called: the API server
    has done it, and the caller never hears of it."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self.calls: list[str] = []
        self.answers: list[tuple[str, int]] = []  # path fragment → status to answer once instead
        self.too_old = 0  # so many watches are answered that they would go on from too long ago
        self.at = 0
        self.cut: Callable[[], None] = lambda: None
        self.url = ""
        self.stop: Callable[[], object] = lambda: None
        self._server = server
        self._context = context
        self._watches: set[asyncio.Task[Any]] = set()

    def reset(self) -> None:
        self.calls.clear()
        self.at = 0

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

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        for number, (fragment, status) in enumerate(self.answers):
            if fragment in request.path_qs and request.method in WRITES:
                del self.answers[number]
                return web.json_response({"kind": "Status", "code": status, "reason": "Test"}, status=status)
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k in ("Accept", "Content-Type")}
        target = self._server + request.raw_path
        call = self._session.request(request.method, target, data=body or None, headers=headers)
        async with call as answer:
            if request.method in WRITES and "/leases/" not in request.path:  # heartbeats come at any time
                self.calls.append(f"{request.method} {request.path}")
                if len(self.calls) == self.at:
                    await answer.read()
                    self.cut()
                    raise web.HTTPServiceUnavailable
            reply = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await reply.prepare(request)
                async for block in answer.content.iter_any():
                    await reply.write(block)
            return reply

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
