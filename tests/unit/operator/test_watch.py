"""How often an API server is asked that answers lists, and refuses or drops the watches that go on from them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from unit.operator.api_fake import Clock

from umbel_operator import kube
from umbel_operator.access import Access

TRIES = 12
BOOKMARK = {"type": "BOOKMARK", "object": {"kind": "Silo", "metadata": {"resourceVersion": "8"}}}
EXPIRED = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old resource version"}}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Enough(Exception):
    """Seen for long enough."""


class Waits(Clock):
    """Time goes on while somebody waits, and a test wants no more than so many waits."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.pauses.append(seconds)
        if len(self.pauses) == TRIES:
            raise Enough


def lines(*events: object) -> web.Response:
    return web.Response(text="".join(json.dumps(event) + "\n" for event in events))


@asynccontextmanager
async def serving(watches: Answer) -> AsyncIterator[kube.Kube]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await watches(request)
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    api = kube.Kube(lambda: Access(f"http://{host}:{port}"))
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


async def pauses_of(monkeypatch: pytest.MonkeyPatch, watches: Callable[[Waits, int], web.Response]) -> list[float]:
    """``watches``: what is answered to the watch of that number, from 0."""
    clock, asked = Waits(), iter(range(1000))

    async def answer(_: web.Request) -> web.StreamResponse:
        return watches(clock, next(asked))

    async with serving(answer) as api:
        monkeypatch.setattr(kube, "asyncio", clock)
        monkeypatch.setattr(kube, "time", clock)
        with pytest.raises(Enough):
            async for _ in api.watch(kube.SILO):
                pass
    return clock.pauses


def grow(pauses: list[float]) -> bool:
    """From half a second to half a minute, each with its jitter."""
    longest = [min(0.5 * 2.0**n, 30.0) for n in range(len(pauses))]
    return all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: web.Response(status=403),
        lambda: web.Response(status=410),
        lambda: web.Response(status=429),
        lambda: lines(EXPIRED),
        lambda: lines(),
    ],
    ids=["forbidden", "gone", "throttled", "too old", "ended at once"],
)
async def test_a_watch_that_never_comes_about_is_tried_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[[], web.Response]
) -> None:
    assert grow(await pauses_of(monkeypatch, lambda _, __: refusal()))


async def test_one_that_brought_something_lets_the_pauses_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = await pauses_of(monkeypatch, lambda _, n: lines(BOOKMARK) if n == 5 else web.Response(status=403))
    assert grow(pauses[:5])
    assert grow(pauses[5:])


async def test_and_so_does_one_that_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(clock: Waits, number: int) -> web.Response:
        clock.now += 300.0 if number == 5 else 0.0
        return lines() if number == 5 else web.Response(status=403)

    pauses = await pauses_of(monkeypatch, watch)
    assert grow(pauses[:5])
    assert grow(pauses[5:])


async def test_a_server_that_names_a_time_is_left_alone_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = {"Retry-After": "90"}
    pauses = await pauses_of(monkeypatch, lambda _, __: web.Response(status=429, headers=busy))
    assert all(90 <= pause <= 135 for pause in pauses)
