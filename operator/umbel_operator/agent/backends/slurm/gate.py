"""The relay at its port: the same one again after a restart, so that clients that run find it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from umbel_operator import logs
from umbel_operator.agent.backends.local.directory import StateDirectory, write
from umbel_operator.agent.backends.slurm.relay import Relay
from umbel_operator.agent.backends.slurm.routes import Routes, routes
from umbel_operator.agent.site_relay import Relay as Wanted

PORT = "relay.port"


@asynccontextmanager
async def opened(wanted: Wanted, directory: StateDirectory) -> AsyncIterator[str]:
    """HOST:PORT, as the compute nodes reach it. Raises OSError."""

    async def look() -> Routes:
        return routes(await asyncio.to_thread(directory.all))

    relay = Relay(look, wanted.connections)
    kept = kept_port(directory.path / PORT)
    ports = (wanted.port,) if wanted.port else (*((kept,) if kept else ()), 0)
    try:
        port = await relay.start(wanted.host, ports)
        if kept and not wanted.port and port != kept:
            logs.warning("the relay's port was taken: clients are started again with another", name=str(port))
        if port != kept:
            write(directory.path / PORT, f"{port}\n")
        await relay.look()
        yield f"{wanted.address or wanted.host}:{port}"
    finally:
        await relay.close()


def kept_port(path: Path) -> int | None:
    """None: none was, or nothing that could be one."""
    try:
        port = int(path.read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None
