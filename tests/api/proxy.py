"""Stands between the operator and the API server, counts what the operator writes, and cuts it off at one call."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Proxy:
    """``calls``: method and path of every write, in order. At number ``at`` (from 1) ``cut`` is called: the API server
    has done it, and the caller never hears of it."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self.calls: list[str] = []
        self.answers: list[tuple[str, int]] = []  # path fragment → status to answer once instead
        self.at = 0
        self.cut: Callable[[], None] = lambda: None
        self.url = ""
        self._server = server
        self._context = context

    def reset(self) -> None:
        self.calls.clear()
        self.at = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
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

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
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
            mine = asyncio.current_task()
            for task in asyncio.all_tasks():  # watches that would go on for ever
                if task is not mine:
                    task.cancel()
            await runner.cleanup()


@contextlib.contextmanager
def between(kubeconfig: Path) -> Iterator[Proxy]:
    """With the rights of the kubeconfig; callers need none of their own."""
    from umbel_operator.access import kubeconfig as read

    access = read(kubeconfig)
    context = access.tls()
    assert context is not None
    proxy, ready = Proxy(access.server, context), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(proxy.serve(ready, stop),), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


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
