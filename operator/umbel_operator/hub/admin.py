"""The admin port of a job's server, spoken to as the operator over mutual TLS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ssl import SSLContext
from typing import Any

import aiohttp

from umbel.wire.pki import server_name
from umbel_operator.hub.observed import Told

SECONDS = 3.0
READ = ("uid", "epoch", "phase", "reason", "message", "history", "metrics", "model", "output")  # the rest never rests


class Unreachable(Exception):
    """No answer, or not the expected one; one line."""


class Unknown(Unreachable):
    """The server has no such path."""


class Admin:
    """``context``: gives the operator's TLS context, the newest."""

    def __init__(self, context: Callable[[], SSLContext]) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def status(self, address: str, job: str, namespace: str) -> dict[str, Any]:
        """``address``: host:port. Raises Unreachable."""
        told = await self._call("GET", address, "/status", job, namespace)
        return {name: told[name] for name in READ if name in told}

    async def tell(self, address: str, job: str, namespace: str, told: Told) -> None:
        """Raises Unreachable."""
        spec = {
            "total": told.total,
            "activeDeadlineSeconds": told.deadline,
            "updates": told.updates,
            "quorum": told.quorum,
            "output": told.output,
        }
        await self._call("PUT", address, "/spec", job, namespace, spec)
        await self._call("PUT", address, "/members", job, namespace, sorted(told.members))
        with contextlib.suppress(Unknown):  # a server of an earlier version: it waits as if nobody were queued
            await self._call("PUT", address, "/queued", job, namespace, sorted(told.queued))

    async def _call(self, method: str, address: str, path: str, job: str, namespace: str, body: Any = None) -> Any:
        if self._session is None:
            # The server takes one request a connection: an identity is as old as its handshake.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=64))
        try:
            async with self._session.request(
                method,
                f"https://{address}{path}",
                json=body,
                ssl=self._context(),
                server_hostname=server_name(job, namespace),
                timeout=aiohttp.ClientTimeout(total=SECONDS),
            ) as response:
                if response.status == 404:
                    raise Unknown(f"the server knows no {path}")
                if response.status >= 400:
                    raise Unreachable(f"the server answered {response.status} to {path}")
                return await response.json() if response.status != 204 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(str(error) or type(error).__name__) from None
