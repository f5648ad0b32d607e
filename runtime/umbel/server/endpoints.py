"""The two HTTP sides of a server: plain ``/healthz`` and ``/metrics``, and ``/status`` with control over mutual TLS.

A caller of the admin side is the one URI in its certificate. The operator may do everything, the observer may read
``/status``, everybody else gets 403 and no details.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from umbel.server.admin_tls import FreshContext, identity
from umbel.wire.credentials import Credentials
from umbel.wire.listening import stop_accepting

MAX_BODY_BYTES = 256 * 1024
MAX_MEMBERS = 1_000
BOUNDS = {  # as in the manifest
    "total": (0, 100_000),
    "activeDeadlineSeconds": (1, 10**8),
    "updates": (1, MAX_MEMBERS),
    "quorum": (1, MAX_MEMBERS),
}
MAX_URI = 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control(Protocol):
    """What the operator may ask for."""

    def status(self) -> dict[str, Any]: ...
    def set_members(self, silos: frozenset[str]) -> None: ...
    def set_queued(self, silos: frozenset[str]) -> None: ...
    def set_total(self, total: int) -> None: ...
    def set_cohort(self, updates: int, quorum: int) -> None: ...
    def set_deadline(self, seconds: float) -> None: ...
    def set_output(self, uri: str) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bound address ``host:port`` and how to close it."""

    address: str
    runner: web.AppRunner
    listening: socket.socket

    async def stop(self) -> None:
        await stop_accepting(self.listening)
        await self.runner.cleanup()


async def _bind(app: web.Application, address: str, fresh: FreshContext | None) -> Endpoint:
    """Raises OSError for an address that cannot be bound."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise OSError(f"{address!r} is not an address; write host:port")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        raise OSError(f"{address} cannot be listened on: {error.strerror or error}; choose another address") from None
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listening, ssl_context=fresh.context if fresh else None).start()
    return Endpoint(f"{host}:{listening.getsockname()[1]}", runner, listening)


async def _say_little(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "umbel"  # the library's own tells its version and Python's


async def serve_plain(address: str, metrics: Callable[[], bytes]) -> Endpoint:
    """Raises OSError for an address that cannot be bound."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def exposition(request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", exposition)])
    app.on_response_prepare.append(_say_little)
    return await _bind(app, address, None)


async def serve_admin(
    address: str, files: Credentials, control: Control, *, operator: str | None, observer: str | None
) -> Endpoint:
    """``operator``, ``observer``: their URIs, None for nobody. Raises OSError for an address that cannot be bound or a
    certificate that cannot be read."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        who = identity(request.transport)
        reading = request.method == "GET" and request.path == "/status"
        if who is None or not (who == operator or (who == observer and reading)):
            raise web.HTTPForbidden(text="forbidden\n")
        return await handler(request)

    async def one_a_connection(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Connection"] = "close"  # an identity is as old as its handshake: a request
        response.force_close()

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guard])
    app.add_routes(_routes(control))
    app.on_response_prepare.append(_say_little)
    app.on_response_prepare.append(one_a_connection)
    return await _bind(app, address, FreshContext(files))


def _routes(control: Control) -> list[web.RouteDef]:
    async def status(request: web.Request) -> web.Response:
        return web.json_response(control.status())

    async def members(request: web.Request) -> web.Response:
        control.set_members(members_of(await _json(request)))
        return web.Response(status=204)

    async def queued(request: web.Request) -> web.Response:
        control.set_queued(members_of(await _json(request)))
        return web.Response(status=204)

    async def spec(request: web.Request) -> web.Response:
        edits, output = edits_of(await _json(request))
        if "total" in edits:
            control.set_total(edits["total"])
        if "updates" in edits:
            control.set_cohort(edits["updates"], edits["quorum"])
        if "activeDeadlineSeconds" in edits:
            control.set_deadline(edits["activeDeadlineSeconds"])
        if output is not None:
            control.set_output(output)
        return web.Response(status=204)

    def plain(call: Callable[[], None]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            call()
            return web.Response(status=204)

        return handle

    return [
        web.get("/status", status),
        web.put("/members", members),
        web.put("/queued", queued),
        web.put("/spec", spec),
        web.post("/suspend", plain(control.suspend)),
        web.post("/resume", plain(control.resume)),
        web.post("/cancel", plain(lambda: control.cancel("cancelled by the operator"))),
    ]


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="not JSON\n") from None


def members_of(body: Any) -> frozenset[str]:
    """A JSON list of silo names. Raises HTTPBadRequest."""
    named = isinstance(body, list) and all(isinstance(name, str) and 0 < len(name) <= 253 for name in body)
    if not named or len(body) > MAX_MEMBERS:
        raise web.HTTPBadRequest(text=f"a JSON list of at most {MAX_MEMBERS} silo names\n")
    return frozenset(body)


def edits_of(body: Any) -> tuple[dict[str, int], str | None]:
    """An object of whole numbers, each within `BOUNDS`, and of ``output``, a URI or "" (None: not in it). Raises
    HTTPBadRequest; then nothing has been changed."""
    if not isinstance(body, dict) or not body.keys() <= {*BOUNDS, "output"}:
        raise web.HTTPBadRequest(text=f"an object of {', '.join(BOUNDS)} and output\n")
    numbers = {name: value for name, value in body.items() if name != "output"}
    for name, value in numbers.items():
        low, high = BOUNDS[name]
        if type(value) is not int or not low <= value <= high:
            raise web.HTTPBadRequest(text=f"{name} is a whole number from {low} to {high}\n")
    if ("updates" in numbers) != ("quorum" in numbers) or numbers.get("quorum", 0) > numbers.get("updates", 0):
        raise web.HTTPBadRequest(text="updates and quorum come together, quorum <= updates\n")
    output = body.get("output")
    if "output" in body and not (isinstance(output, str) and len(output) <= MAX_URI):
        raise web.HTTPBadRequest(text=f"output is a URI of at most {MAX_URI} characters\n")
    return numbers, output
