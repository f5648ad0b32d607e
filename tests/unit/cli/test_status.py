"""Reading /status: over mutual TLS 1.3, from the server of this run and nobody else."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from umbel.cli.running import status
from umbel.wire import pki
from umbel.wire.credentials import Credentials

BODY = {
    "phase": "Training",
    "round": 3,
    "total": 20,
    "connected": 9,
    "secondsToDeadline": 12.5,
    "metrics": {"train": {"loss": 0.5}, "evaluate": {}},
    "history": [{"round": 2, "attempt": 1, "outcome": "Committed"}],
    "model": {"round": 2, "digest": "x", "path": "/state/model.safetensors"},
}


@asynccontextmanager
async def serving(server: Credentials, seen: list[object]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.append(request.transport.get_extra_info("peercert")["subjectAltName"])
        return web.json_response(BODY)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(server.authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_get("/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def identities(directory: Path, server_name: str) -> tuple[Credentials, Credentials]:
    authority = pki.Authority.create(directory / "ca")
    server = pki.server_id("umbel.local", "default", "digits")
    observer = authority.issue(directory / "observer", pki.observer_id("umbel.local"))
    return authority.issue(directory / "server", server, [server_name]), observer


async def test_the_observer_reads_what_the_server_says(tmp_path: Path) -> None:
    name = pki.server_name("digits", "default")
    server, observer = identities(tmp_path, name)
    seen: list[object] = []
    reader = status.StatusReader(observer, name)
    async with serving(server, seen) as admin:
        said = await reader.read(admin)
        await reader.close()
    assert said is not None
    assert (said.phase, said.round, said.total, said.connected, said.deadline) == ("Training", 3, 20, 9, 12.5)
    assert (said.model, said.train, said.history[0].round) == ("/state/model.safetensors", {"loss": 0.5}, 2)
    assert seen == [(("URI", "spiffe://umbel.local/hub/observer"),)]


async def test_a_server_of_another_job_is_not_believed(tmp_path: Path) -> None:
    server, observer = identities(tmp_path, pki.server_name("other", "default"))
    seen: list[object] = []
    reader = status.StatusReader(observer, pki.server_name("digits", "default"))
    async with serving(server, seen) as admin:
        assert await reader.read(admin) is None
        await reader.close()
    assert seen == []


async def test_a_server_that_is_gone_is_no_error(tmp_path: Path) -> None:
    name = pki.server_name("digits", "default")
    server, observer = identities(tmp_path, name)
    reader = status.StatusReader(observer, name)
    async with serving(server, []) as admin:
        assert await reader.read(admin) is not None
    assert await reader.read(admin) is None
    await reader.close()


@pytest.mark.parametrize("text", [None, "", '{"federation'])
def test_no_endpoints_until_they_are_written(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "endpoints.json"
    if text is not None:
        file.write_text(text)
    assert status.read_endpoints(file) is None


def test_endpoints(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text(json.dumps({"federation": "grpcs://h:1", "admin": "https://h:2", "pid": 7, "epoch": 1}))
    assert status.read_endpoints(file) == status.Endpoints("grpcs://h:1", "https://h:2", 7)
