"""What a server hears of the operator, over real TLS; also one of an earlier version."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from umbel.server import endpoints
from umbel.wire import pki
from umbel_operator.hub.admin import Admin, Unreachable
from umbel_operator.hub.observed import Told

DOMAIN = "umbel.local"
TOLD = Told(1, frozenset({"a", "b"}), 7, 600, 2, 2, "", frozenset({"b"}))


class Listener:
    """A Control that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *words: self.heard.append((name, *words))


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[Admin, str, Listener]]:
    authority = pki.Authority.create(folder / "ca")
    files = authority.issue(folder / "server", pki.server_id(DOMAIN, "default", "digits"), [NAME])
    operator = authority.issue(folder / "operator", pki.operator_id(DOMAIN))
    context = ssl.create_default_context(cafile=str(folder / "ca/ca.crt"))
    context.load_cert_chain(operator.certificate, operator.key)
    listener, admin = Listener(), Admin(lambda: context)
    uri = pki.operator_id(DOMAIN)
    endpoint = await endpoints.serve_admin("127.0.0.1:0", files, listener, operator=uri, observer=None)  # type: ignore[arg-type]
    try:
        yield admin, endpoint.address, listener
    finally:
        await admin.close()
        await endpoint.stop()


NAME = pki.server_name("digits", "default")
WITHOUT_QUEUE = [
    ("set_total", 7),
    ("set_cohort", 2, 2),
    ("set_deadline", 600),
    ("set_output", ""),
    ("set_members", frozenset({"a", "b"})),
]


async def test_all_of_it_arrives(tmp_path: Path) -> None:
    async with server(tmp_path) as (admin, address, listener):
        await admin.tell(address, "digits", "default", TOLD)
        assert listener.heard == [*WITHOUT_QUEUE, ("set_queued", frozenset({"b"}))]


async def test_a_server_that_knows_of_no_queues_hears_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = endpoints._routes
    monkeypatch.setattr(endpoints, "_routes", lambda control: [r for r in whole(control) if r.path != "/queued"])
    async with server(tmp_path) as (admin, address, listener):
        await admin.tell(address, "digits", "default", TOLD)
        assert listener.heard == WITHOUT_QUEUE


async def test_a_path_that_a_server_must_know_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_routes", lambda control: [])
    async with server(tmp_path) as (admin, address, _):
        with pytest.raises(Unreachable, match="/spec"):
            await admin.tell(address, "digits", "default", TOLD)
