"""/healthz tells an operator whose watch is deaf from one whose API is away: the heartbeat at a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from umbel_cluster.api import Api

from umbel_operator import health
from umbel_operator.health import DEAF_SECONDS, Heartbeat
from umbel_operator.kube import Kube

from .hub import until
from .proxy import Proxy, kubeconfig_for

pytestmark = pytest.mark.api
NAMESPACE = "heard"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Probed:
    """A heartbeat that beats without pause, and what a probe of it says."""

    def __init__(self, kube: Kube) -> None:
        self.clock = Clock()
        self.heart = Heartbeat(kube, NAMESPACE, self.clock, beat=0.05)
        self.url = ""

    async def later(self, seconds: float) -> None:
        """So much later something was written."""
        self.clock.now += seconds
        await self.comes(lambda: self.heart.reached == self.clock.now, "a beat")

    async def probe(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as answer:
            return answer.status

    async def comes(self, true: Callable[[], Any], what: str) -> None:
        await asyncio.to_thread(until, true, what, every=0.02)


async def test_a_deaf_watch_fails_the_probe_and_an_api_that_is_away_does_not(
    api: Api, proxy: Proxy, tmp_path: Path
) -> None:
    api.kubectl("create", "namespace", NAMESPACE)
    kube = Kube.from_kubeconfig(kubeconfig_for(proxy, tmp_path / "kubeconfig"))
    probed = Probed(kube)
    runner = await health.serve("127.0.0.1", 0, probed.heart.alive, lambda: b"")
    probed.url = "http://{}:{}".format(*runner.addresses[0])
    tasks = [asyncio.create_task(work) for work in (probed.heart.run(), probed.heart.listen())]
    try:
        await probed.comes(lambda: proxy.watches, "a watch")
        await _scene(probed, proxy)
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await kube.close()


async def _scene(probed: Probed, proxy: Proxy) -> None:
    heart, clock = probed.heart, probed.clock
    await probed.later(1)
    await probed.comes(lambda: heart.echoed == clock.now, "an echo")
    with proxy.holding(lambda call: "watch=" in call):
        await probed.comes(lambda: proxy.held, "a watch that is held up")
        await probed.later(1)  # not heard: from now on, or from a second ago, if a beat came between
        await probed.later(DEAF_SECONDS - 2)
        assert await probed.probe() == 200
        await probed.later(2)
        assert await probed.probe() == 503
        assert heart.echoed < clock.now - DEAF_SECONDS
    await probed.comes(lambda: heart.echoed == clock.now, "an echo again")
    assert await probed.probe() == 200

    with proxy.holding(lambda _: True):
        await probed.comes(lambda: any("PATCH" in call for call in proxy.held), "a beat that is not answered")
        clock.now += 10 * DEAF_SECONDS
        assert await probed.probe() == 200
        with proxy.holding(lambda call: "watch=" in call):
            await probed.later(1)  # the API is back, and the watch not yet
            assert await probed.probe() == 200
