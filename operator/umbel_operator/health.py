"""Liveness that proves something: a heartbeat is written, and has to come back on the watch.

A process whose watches have died unnoticed answers every plain probe; this one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import Callable

from aiohttp import web

from umbel_operator import names
from umbel_operator.access import AccessError
from umbel_operator.kube import LEASE, ApiError, Kube

BEAT_SECONDS = 20.0
DEAF_SECONDS = 120.0
HEARTBEAT = "umbel-operator"


class Heartbeat:
    """A Lease of the operator's namespace, written every ``beat`` seconds. ``clock``: a steady one. ``echoed``: when
    the watch brought what was written last."""

    def __init__(
        self, kube: Kube, namespace: str, clock: Callable[[], float] = time.monotonic, beat: float = BEAT_SECONDS
    ) -> None:
        self._kube, self._namespace, self._clock, self._beat_seconds = kube, namespace, clock, beat
        self._sent = self._heard = ""
        self._unheard: float | None = None  # when the first was written of those that have not come back
        self.reached = self.echoed = clock()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(ApiError, AccessError):
                await self._beat()
            await asyncio.sleep(self._beat_seconds)

    async def _beat(self) -> None:
        self._sent = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": HEARTBEAT,
                "namespace": self._namespace,
                "labels": {names.MANAGED_BY: "umbel", names.COMPONENT: "operator"},
            },
            "spec": {"holderIdentity": HEARTBEAT, "leaseDurationSeconds": int(DEAF_SECONDS), "renewTime": self._sent},
        }
        await self._kube.apply(lease, manager=names.HUB_MANAGER)
        self.reached = self._clock()
        if self._heard != self._sent and self._unheard is None:
            self._unheard = self.reached

    async def listen(self) -> None:
        """The watch whose echo is waited for."""
        selector = f"{names.COMPONENT}=operator"
        async for change, item in self._kube.watch(LEASE, self._namespace, selector=selector):
            if change != "SYNCED" and (item.get("spec") or {}).get("renewTime") == self._sent:
                self._heard, self._unheard, self.echoed = self._sent, None, self._clock()

    def alive(self) -> bool:
        """False: the API takes what is written, and has for a while, but nothing comes back. One that is away, or was
        until a moment ago, is no reason to be restarted."""
        return self._unheard is None or self.reached - self._unheard < DEAF_SECONDS


async def serve(host: str, port: int, alive: Callable[[], bool], text: Callable[[], bytes]) -> web.AppRunner:
    """``/healthz`` and ``/metrics`` until the runner is cleaned up. Raises OSError when the port is taken."""

    async def healthz(_: web.Request) -> web.Response:
        good = alive()
        return web.Response(text="ok\n" if good else "stuck\n", status=200 if good else 503)

    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", numbers)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
