"""Who may reach whom through the relay: the clients of this silo, each its own job's server. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from umbel_operator.agent.backends.local.directory import Kept
from umbel_operator.agent.federatedclient import Server

DEFAULT_PORTS = {"grpcs": 8443, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


Routes = dict[str, Address]


def routes(folders: Iterable[Kept]) -> Routes:
    """Addresses by the names that the servers' certificates carry, of the attempts that are written down: what runs, or
    is being stopped and may send what it has."""
    attempts = [kept.attempt for kept in folders if kept.attempt is not None and not kept.attempt.refused]
    found = ((attempt.server.name.lower(), address(attempt.server)) for attempt in attempts)
    return {name: where for name, where in found if where is not None}


def address(server: Server) -> Address | None:
    """None: it is not spoken to by TLS, or nowhere."""
    try:
        parts = urlsplit(server.url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return Address(parts.hostname, port) if parts.hostname else None


def relayed(server: Server, relay: str) -> Server:
    """As a client dials it by way of ``relay``, HOST:PORT; the name stays, and so who has to prove to be it."""
    return Server(f"{urlsplit(server.url).scheme}://{relay}", server.name)
