"""What a caller that is turned away leaves behind, and the longest list of members that has to fit."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from umbel.server import endpoints
from umbel.server.endpoints import MAX_BODY_BYTES, MAX_MEMBERS
from umbel.wire import pki
from umbel.wire.credentials import Credentials

DOMAIN = "umbel.local"
OPERATOR, SILO = pki.operator_id(DOMAIN), pki.silo_id(DOMAIN, "hospital-a")
NAME = pki.server_name("trial", "oncology")


@dataclass
class Desk:
    """A `Control` that writes down who became a member."""

    members: list[frozenset[str]] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        return {"phase": "Training"}

    def set_members(self, silos: frozenset[str]) -> None:
        self.members.append(silos)

    def set_queued(self, silos: frozenset[str]) -> None: ...
    def set_total(self, total: int) -> None: ...
    def set_cohort(self, updates: int, quorum: int) -> None: ...
    def set_deadline(self, seconds: float) -> None: ...
    def set_output(self, uri: str) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self, message: str) -> None: ...


@dataclass
class Hub:
    folder: Path
    authority: pki.Authority
    desk: Desk
    address: str

    async def ask(self, who: Credentials | None, method: str, path: str, body: bytes = b"") -> int:
        """The status. Raises aiohttp.ClientError when there is no connection."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca" / "ca.crt"))
        if who is not None:
            context.load_cert_chain(who.certificate, who.key)
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"https://{self.address}{path}", data=body, ssl=context, server_hostname=NAME
            ) as response,
        ):
            return response.status


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    authority = pki.Authority.create(tmp_path / "ca")
    server = authority.issue(tmp_path / "server", pki.server_id(DOMAIN, "oncology", "trial"), [NAME])
    desk = Desk()
    endpoint = await endpoints.serve_admin("127.0.0.1:0", server, desk, operator=OPERATOR, observer=None)
    yield Hub(tmp_path, authority, desk, endpoint.address)
    await endpoint.stop()


async def test_who_is_turned_away_leaves_no_name_or_address_in_a_log(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = pki.Authority.create(hub.folder / "other").issue(hub.folder / "stranger", OPERATOR)
    silo = hub.authority.issue(hub.folder / "silo", SILO)
    with caplog.at_level(logging.INFO):
        assert await hub.ask(silo, "GET", "/status") == 403
        for who in (None, stranger):
            with pytest.raises(aiohttp.ClientError):
                await hub.ask(who, "GET", "/status")
    assert "hospital-a" not in caplog.text
    assert "127.0.0.1" not in caplog.text


async def test_plain_text_is_not_spoken(hub: Hub) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{hub.address}/status")


async def test_the_longest_list_of_members_fits_into_a_body(hub: Hub) -> None:
    names = [f"{n:04d}-{'x' * 240}" for n in range(MAX_MEMBERS)]
    body = json.dumps(names).encode()
    assert len(body) < MAX_BODY_BYTES
    operator = hub.authority.issue(hub.folder / "operator", OPERATOR)
    assert await hub.ask(operator, "PUT", "/members", body) == 204
    assert hub.desk.members == [frozenset(names)]
