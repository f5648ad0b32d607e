"""Hello of older and newer clients: served in the newest version that both sides speak, or told why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from umbel.rounds.engine import Engine
from umbel.server import messages
from umbel.server.service import FederationService
from umbel.server.sessions import Sessions
from umbel.server.traffic import Traffic
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Layout

from .things import SILOS, job

LAYOUT = Layout.of({"w": np.zeros(1, np.float32)})


@pytest.fixture
def service() -> Iterator[FederationService]:
    """Its engine hears of everything; nothing of a round is needed here."""
    engine = Engine(job(), epoch=1, snapshot=None, members=frozenset(SILOS), now=0.0)
    conductor: Any = SimpleNamespace(engine=engine, feed=lambda event: engine.handle(event, 0.0))
    with ThreadPoolExecutor(1) as executor:
        yield FederationService(
            job=job(),
            uid="uid",
            conductor=conductor,
            sessions=Sessions(),
            uploads=None,  # type: ignore[arg-type]  # nobody uploads
            traffic=Traffic(),
            executor=executor,
            layouts=(LAYOUT, LAYOUT),
        )


async def answered(service: FederationService, hello: pb.ClientMessage) -> pb.ServerMessage:
    """The first answer to a client that says this and stays."""

    async def saying() -> AsyncIterator[pb.ClientMessage]:
        yield hello
        await asyncio.Event().wait()

    session = service.session(SILOS[0], saying())
    try:
        return await anext(session)
    finally:
        await session.aclose()


def hello(versions: Sequence[int]) -> pb.ClientMessage:
    return pb.ClientMessage(hello=pb.Hello(protocol_versions=versions))


@pytest.mark.parametrize(
    ("server", "client", "spoken"),
    [
        ((1,), [1], 1),
        ((1, 2), [1], 1),  # the previous minor version of a client at a newer hub
        ((1, 2), [1, 2], 2),
        ((1, 2), [2, 1], 2),
        ((1,), [1, 2], 1),  # a newer client at an older hub
        ((2, 3), [1, 2], 2),
    ],
)
async def test_the_newest_common_version_is_spoken(
    service: FederationService, monkeypatch: pytest.MonkeyPatch, server: tuple[int, ...], client: list[int], spoken: int
) -> None:
    monkeypatch.setattr(messages, "PROTOCOL_VERSIONS", server)
    assert (await answered(service, hello(client))).welcome.protocol_version == spoken


@pytest.mark.parametrize(("server", "client"), [((2, 3), [1]), ((1,), [2, 3]), ((1,), []), ((1,), [0])])
async def test_without_one_the_client_is_told_what_the_server_speaks(
    service: FederationService, monkeypatch: pytest.MonkeyPatch, server: tuple[int, ...], client: list[int]
) -> None:
    monkeypatch.setattr(messages, "PROTOCOL_VERSIONS", server)
    refused = (await answered(service, hello(client))).refused
    assert (refused.reason, refused.permanent) == (pb.NO_COMMON_VERSION, True)
    assert f"this server speaks {' and '.join(map(str, server))};" in refused.message
