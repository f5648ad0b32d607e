"""The two HTTP sides of a server: plain ``/healthz`` and ``/metrics``, and ``/status`` with control over mutual TLS.

A caller of the admin side is the one URI in its certificate. The operator may do everything, the observer may read
``/status``, everybody else gets 403 and no details.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from umbel.wire.transport import Credentials

MAX_BODY_BYTES = 256 * 1024
RELOAD_SECONDS = 30.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control(Protocol):
    """What the operator may ask for."""

    def status(self) -> dict[str, Any]: ...
    def set_members(self, silos: frozenset[str]) -> None: ...
    def set_total(self, total: int) -> None: ...
    def set_deadline(self, seconds: float) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self, message: str) -> None: ...


@dataclass
class Endpoint:
    """A bound address ``host:port`` and how to close it."""

    address: str
    runner: web.AppRunner
    reload: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        if self.reload:
            self.reload.cancel()
        await self.runner.cleanup()


async def _bind(app: web.Application, address: str, context: ssl.SSLContext | None) -> Endpoint:
    """Raises OSError for an address that cannot be bound."""
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    listening = socket.create_server((host, int(port)), reuse_port=False)
    await web.SockSite(runner, listening, ssl_context=context).start()
    return Endpoint(f"{host}:{listening.getsockname()[1]}", runner)


async def serve_plain(address: str, metrics: Callable[[], bytes]) -> Endpoint:
    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def exposition(request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", exposition)])
    return await _bind(app, address, None)


def tls_context(files: Credentials) -> ssl.SSLContext:
    """TLS 1.3 only, client certificate required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.authorities)
    return context


async def _keep_fresh(context: ssl.SSLContext, files: Credentials) -> None:
    """New handshakes get a renewed certificate and a bundle with one CA more."""
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        with contextlib.suppress(OSError):  # in the middle of a renewal
            context.load_cert_chain(files.certificate, files.key)
            context.load_verify_locations(files.authorities)


def identity(request: web.Request) -> str | None:
    """The one URI in the caller's certificate; None for any other set of names."""
    ssl_object = request.transport.get_extra_info("ssl_object") if request.transport else None
    certificate = ssl_object.getpeercert() if ssl_object else None
    names = (certificate or {}).get("subjectAltName", ())
    if len(names) != 1 or names[0][0] != "URI":
        return None
    return str(names[0][1])


async def serve_admin(
    address: str, files: Credentials, control: Control, *, operator: str | None, observer: str | None
) -> Endpoint:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        who = identity(request)
        reading = request.method == "GET" and request.path == "/status"
        if who is None or not (who == operator or (who == observer and reading)):
            raise web.HTTPForbidden(text="forbidden\n")
        return await handler(request)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guard])
    app.add_routes(_routes(control))
    context = tls_context(files)
    endpoint = await _bind(app, address, context)
    endpoint.reload = asyncio.create_task(_keep_fresh(context, files))
    return endpoint


def _routes(control: Control) -> list[web.RouteDef]:
    async def status(request: web.Request) -> web.Response:
        return web.json_response(control.status())

    async def members(request: web.Request) -> web.Response:
        body = await _json(request)
        if not isinstance(body, list) or not all(isinstance(name, str) for name in body):
            raise web.HTTPBadRequest(text="a JSON list of silo names\n")
        control.set_members(frozenset(body))
        return web.Response(status=204)

    async def spec(request: web.Request) -> web.Response:
        body = await _json(request)
        if not isinstance(body, dict) or not body.keys() <= {"total", "activeDeadlineSeconds"}:
            raise web.HTTPBadRequest(text="an object of total and activeDeadlineSeconds\n")
        if not all(type(value) is int and value >= 0 for value in body.values()):
            raise web.HTTPBadRequest(text="whole numbers, 0 or more\n")
        if "total" in body:
            control.set_total(body["total"])
        if "activeDeadlineSeconds" in body:
            control.set_deadline(body["activeDeadlineSeconds"])
        return web.Response(status=204)

    def plain(call: Callable[[], None]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            call()
            return web.Response(status=204)

        return handle

    return [
        web.get("/status", status),
        web.put("/members", members),
        web.put("/spec", spec),
        web.post("/suspend", plain(control.suspend)),
        web.post("/resume", plain(control.resume)),
        web.post("/cancel", plain(lambda: control.cancel("cancelled by the operator"))),
    ]


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise web.HTTPBadRequest(text="not JSON\n") from None
