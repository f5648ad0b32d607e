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
from umbel_operator.kube import LEASE, ApiError, Kube

BEAT_SECONDS = 20.0
DEAF_SECONDS = 120.0
HEARTBEAT = "umbel-operator"


class Heartbeat:
    """A Lease of the operator's namespace; `heard` is called with what the operator's watch brings of it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._sent = ""
        self.reached = time.monotonic()  # the API answered; an API that is away is no reason to be restarted
        self.echoed = time.monotonic()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(ApiError):
                await self._beat()
            await asyncio.sleep(BEAT_SECONDS)

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
        self.reached = time.monotonic()

    async def listen(self) -> None:
        """The watch whose echo is waited for."""
        selector = f"{names.COMPONENT}=operator"
        async for change, item in self._kube.watch(LEASE, self._namespace, selector=selector):
            if change != "SYNCED" and (item.get("spec") or {}).get("renewTime") == self._sent:
                self.echoed = time.monotonic()

    def alive(self) -> bool:
        """False: the API takes what is written, but nothing comes back."""
        return self.reached - self.echoed < DEAF_SECONDS


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
