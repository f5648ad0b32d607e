"""How the ranks of one client find one another, and know one another.

Rank 0 leaves its addresses in the state folder, which all nodes see. An address proves nothing: both ends show that
they hold the silo's own key, and take nobody who does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from umbel.client.ranks.messages import LINE_BYTES, ChannelError
from umbel.client.ranks.place import Place
from umbel.wire.credentials import Credentials
from umbel.wire.pki import write_private

MEETING_SECONDS = 300.0  # until every rank is there; a shared file system may take a minute to show a file
DIAL_SECONDS = 10.0
LOOK_SECONDS = 0.2
FIRST_PORT, LAST_PORT = 20000, 32000  # below the ephemeral ones


@dataclass(frozen=True, slots=True)
class Addresses:
    """``hosts``: of rank 0, the likeliest first. ``port``: of the channel. ``free_port``: of the same host, for the
    user's own libraries."""

    hosts: tuple[str, ...]
    port: int
    free_port: int

    def announce(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        write_private(temporary, json.dumps([self.hosts, self.port, self.free_port]).encode())
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Addresses | None:
        """None: they are not there yet."""
        with contextlib.suppress(OSError, ValueError):
            os.listdir(path.parent)  # has a network file system look again
            hosts, port, free = json.loads(path.read_text())
            return cls(tuple(hosts), int(port), int(free))
        return None


def place_of(state: Path, place: Place) -> Path:
    return state / f"ranks-{place.attempt}.json"


def forget(state: Path) -> None:
    """What earlier starts have left: whoever finds it would dial in vain."""
    for old in state.glob("ranks-*.json"):
        old.unlink(missing_ok=True)


def hosts(place: Place, own: str = "") -> tuple[str, ...]:
    """What this host may be called by the others. ``own``: as the site says it, and nothing else then."""
    if own:
        return (own,)
    names = (place.node, socket.gethostname(), socket.getfqdn())
    return tuple(dict.fromkeys(name for name in names if name))


def free_port(host: str) -> int:
    """One that nobody listens on now, and that no connection is given by chance."""
    while True:
        port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            return port


def listening(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.load_verify_locations(credentials.authorities)
    context.verify_mode = ssl.CERT_REQUIRED  # so that it is asked for; `same_key` decides
    return context


def dialling(credentials: Credentials) -> ssl.SSLContext:
    """A silo's certificate is not one of a server: `same_key` decides, which is stricter than any authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def same_key(writer: asyncio.StreamWriter, credentials: Credentials) -> bool:
    """Whether the other end has proved to hold this silo's key."""
    connection = writer.get_extra_info("ssl_object")
    shown = connection.getpeercert(binary_form=True) if connection is not None else None
    if not shown:
        return False
    own = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    return _key(x509.load_der_x509_certificate(shown)) == _key(own)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """A node that loses its power is noticed within a minute."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def find(path: Path) -> Addresses:
    """Rank 0's, as soon as they are there. Raises ChannelError."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MEETING_SECONDS):
            while True:
                if (found := Addresses.read(path)) is not None:
                    return found
                await asyncio.sleep(LOOK_SECONDS)
    raise ChannelError(f"rank 0 has not left its address in {path}; do all nodes see that folder?")


async def dial(
    addresses: Addresses, credentials: Credentials
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """The host that answers, and the channel to it. Raises ChannelError."""
    faults = []
    for host in addresses.hosts:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                reader, writer = await asyncio.open_connection(
                    host, addresses.port, ssl=dialling(credentials), limit=LINE_BYTES
                )
        except (OSError, TimeoutError) as error:
            faults.append(f"{host}: {error or 'no answer'}")
            continue
        if same_key(writer, credentials):
            keep_alive(writer)
            return host, reader, writer
        await close(writer)
        faults.append(f"{host}: somebody else answers")
    raise ChannelError(f"rank 0 cannot be reached at port {addresses.port} ({_list(faults)})")


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


def _list(faults: Iterable[str]) -> str:
    return "; ".join(faults)
