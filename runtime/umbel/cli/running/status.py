"""Reading a server's ``/status`` as the observer: aggregate facts, nothing of a silo."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from umbel.cli import records
from umbel.wire.credentials import Credentials

TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where one server process listens."""

    federation: str
    admin: str
    pid: int


@dataclass(frozen=True, slots=True)
class Status:
    """``deadline``: seconds until the open round closes at the latest; None while no round is open."""

    phase: str
    outcome: str
    reason: str
    message: str
    round: int
    attempt: int
    total: int
    members: int
    connected: int
    invited: int
    deadline: float | None
    model: str
    train: Mapping[str, float] = field(default_factory=dict)
    evaluate: Mapping[str, float] = field(default_factory=dict)
    history: tuple[records.Record, ...] = ()


def parse(data: Mapping[str, Any]) -> Status:
    metrics, deadline = data.get("metrics") or {}, data.get("secondsToDeadline")
    return Status(
        phase=str(data.get("phase") or ""),
        outcome=str(data.get("outcome") or ""),
        reason=str(data.get("reason") or ""),
        message=str(data.get("message") or ""),
        round=int(data.get("round") or 0),
        attempt=int(data.get("attempt") or 1),
        total=int(data.get("total") or 0),
        members=int(data.get("members") or 0),
        connected=int(data.get("connected") or 0),
        invited=int(data.get("invited") or 0),
        deadline=None if deadline is None else float(deadline),
        model=str((data.get("model") or {}).get("path") or ""),
        train=dict(metrics.get("train") or {}),
        evaluate=dict(metrics.get("evaluate") or {}),
        history=tuple(records.parse(r) for r in data.get("history") or ()),
    )


def read_endpoints(path: Path) -> Endpoints | None:
    """None until a server has written them."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return Endpoints(str(data["federation"]), str(data["admin"]), int(data["pid"]))


class StatusReader:
    """A kept connection to the admin port of whichever server process is alive."""

    def __init__(self, credentials: Credentials, server_name: str) -> None:
        self._credentials = credentials
        self._server_name = server_name
        self._session: aiohttp.ClientSession | None = None

    async def read(self, admin: str) -> Status | None:
        """None when the server cannot be reached just now."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context(), limit=1), timeout=TIMEOUT
            )
        try:
            async with self._session.get(f"{admin}/status", server_hostname=self._server_name) as response:
                return parse(await response.json()) if response.status == 200 else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None

    async def close(self) -> None:
        """End the connection; the next read makes one with the certificate that is then on disk."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._credentials.certificate, self._credentials.key)
        context.load_verify_locations(self._credentials.authorities)
        return context
