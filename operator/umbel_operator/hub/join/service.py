"""The join service's HTTP: bodies in, answers out, over TLS that knows expired certificates of silos as well."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from umbel.wire import pki
from umbel.wire.listening import stop_accepting
from umbel_operator import joining, logs
from umbel_operator.access import AccessError
from umbel_operator.hub.authority import Authority
from umbel_operator.hub.join import decisions
from umbel_operator.hub.join.decisions import Granted, Refused
from umbel_operator.hub.join.grants import Grants
from umbel_operator.hub.join.limits import Limits
from umbel_operator.hub.settings import Settings
from umbel_operator.kube import ApiError

BODY_BYTES = 16 << 10
BODY_SECONDS = 10.0
LOOK_SECONDS = 30.0
JOINED, RENEWED = "Joined", "Renewed"
OUTCOMES = (
    *(JOINED, RENEWED, joining.TOKEN_NOT_VALID, joining.TOKEN_USED, joining.INVITATION_EXPIRED),
    *(joining.REQUEST_NOT_VALID, joining.REMOVED, joining.THROTTLED, joining.UNAVAILABLE),
)
FIELDS = {"silo": joining.MAX_NAME, "token": 128, "request": 8192}


class JoinService:
    """``changed``: set by whoever replaces the authority's keys."""

    def __init__(self, grants: Grants, authority: Authority, settings: Settings, registry: CollectorRegistry) -> None:
        self._grants = grants
        self._authority = authority
        self._settings = settings
        self._limits = Limits(now=time.monotonic())
        self._asked = Counter("fl_join_requests", "Requests to join or renew.", ["outcome"], registry=registry)
        for outcome in OUTCOMES:
            self._asked.labels(outcome)

    async def run(self, listening: socket.socket) -> None:
        """Until cancelled. The certificate is made anew in time, and when the authority changes; the socket listens
        all the while."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes([web.post(joining.JOIN_PATH, self._join), web.post(joining.RENEW_PATH, self._renew)])
        runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=5.0)
        await runner.setup()
        older: tuple[web.SockSite, socket.socket] | None = None
        try:
            while True:
                version = self._authority.version
                context, until = server_context(self._authority, self._settings.certificate_hours)
                accepting = listening.dup()
                fresh = web.SockSite(runner, accepting, ssl_context=context)
                await fresh.start()
                if older is not None:
                    await stop_accepting(older[1])
                    await older[0].stop()
                older = fresh, accepting
                while time.time() < until and self._authority.version == version:
                    await self._authority.changed(version, min(LOOK_SECONDS, max(0.0, until - time.time())))
        finally:
            await runner.cleanup()
            listening.close()

    # ---- requests

    async def _join(self, http: web.Request) -> web.Response:
        async def answer() -> web.Response | Refused:
            given = decisions.fields(await _body(http), FIELDS)
            if isinstance(given, Refused):
                return given
            silo, domain = given["silo"], self._settings.trust_domain
            if (fault := joining.silo_fault(silo)) is not None:
                return Refused(400, joining.REQUEST_NOT_VALID, f"silo: {fault}")
            key = decisions.requested_key(given["request"], domain, silo)
            if isinstance(key, Refused):
                return key
            granted = await self._grants.join(silo, given["token"], key)
            return granted if isinstance(granted, Refused) else await self._given(silo, granted)

        return await self._answered(http, JOINED, answer)

    async def _renew(self, http: web.Request) -> web.Response:
        async def answer() -> web.Response | Refused:
            tls = http.transport.get_extra_info("ssl_object") if http.transport else None
            caller = decisions.caller(tls.getpeercert(binary_form=True) if tls else None, self._settings.trust_domain)
            if isinstance(caller, Refused):
                return caller
            silo, key = caller
            granted = await self._grants.renew(silo, key)
            return granted if isinstance(granted, Refused) else await self._given(silo, granted)

        return await self._answered(http, RENEWED, answer)

    async def _given(self, silo: str, granted: Granted) -> web.Response:
        uri = joining.agent_id(self._settings.trust_domain, silo)
        return web.json_response(
            {
                "certificate": self._authority.certify(granted.key, uri),
                "authorities": self._authority.bundle,
                "kubeconfig": await self._grants.kubeconfig(silo),
            }
        )

    async def _answered(
        self, http: web.Request, outcome: str, answer: Callable[[], Awaitable[web.Response | Refused]]
    ) -> web.Response:
        if not self._limits.admit(http.remote or "", time.monotonic()):
            said: web.Response | Refused = Refused(429, joining.THROTTLED, "too many requests; wait a minute")
        else:
            try:
                said = await answer()
            except (ApiError, AccessError) as error:
                logs.warning("a silo's request could not be answered", error=str(error))
                said = Refused(503, joining.UNAVAILABLE, "the hub cannot reach its own API now; try again later")
        self._asked.labels(said.reason if isinstance(said, Refused) else outcome).inc()
        if isinstance(said, web.Response):
            return said
        logs.info("a silo's request was refused", reason=said.reason)
        return web.json_response({"reason": said.reason, "message": said.message}, status=said.status)


async def _body(http: web.Request) -> object:
    """None for what is too long, too slow or no JSON."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return json.loads(await http.read())
    except (ValueError, RecursionError, TimeoutError, web.HTTPRequestEntityTooLarge):
        return None


def server_context(authority: Authority, hours: float) -> tuple[ssl.SSLContext, float]:
    """(context, when to make another). A caller without a certificate may come in, to join; one whose certificate has
    expired too, as a silo that was away for long has no other."""
    certificate, key = authority.served(joining.SERVER_NAME, hours)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority.bundle)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | joining.ACCEPT_EXPIRED)
    with tempfile.TemporaryDirectory() as folder:
        pki.write_private(Path(folder) / "pair.pem", certificate + key)  # OpenSSL reads a key only from a file
        context.load_cert_chain(Path(folder) / "pair.pem")
    return context, pki.renewal(certificate)


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    listening.setblocking(False)
    return listening
