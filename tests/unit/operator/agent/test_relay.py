"""The relay of a silo whose compute nodes have no route out: whom it lets through, and what it holds meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.agent.bench import Queue
from unit.operator.agent.silo import site_file

from umbel.wire import pki
from umbel_operator.agent.backends.local.directory import StateDirectory
from umbel_operator.agent.backends.slurm import gate, relay
from umbel_operator.agent.backends.slurm.hello import Incomplete, server_name
from umbel_operator.agent.backends.slurm.routes import Address, Routes, address, relayed, routes
from umbel_operator.agent.federatedclient import Server
from umbel_operator.agent.site import SiteError
from umbel_operator.agent.site_relay import Relay as Wanted

NAME = "digits.default.umbel.internal"
LOCAL = "127.0.0.1"
PATIENCE = 20.0


def client_hello(name: str | None = NAME) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


HELLO = client_hello()


def in_records(data: bytes, size: int) -> bytes:
    """The same handshake in records of ``size`` bytes."""
    body = data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


# ---- whom a connection is for


def test_a_connection_says_whom_it_is_for() -> None:
    assert server_name(HELLO) == NAME
    assert server_name(HELLO + b"more") == NAME
    assert server_name(client_hello("DIGITS.default.umbel.internal")) == NAME
    assert server_name(in_records(HELLO, 50)) == NAME


@pytest.mark.parametrize("whole", [HELLO, in_records(HELLO, 100)])
def test_it_is_read_as_it_comes(whole: bytes) -> None:
    for end in range(len(whole)):
        with pytest.raises(Incomplete):
            server_name(whole[:end])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        client_hello(None),
        HELLO[:43] + b"\xff" + HELLO[44:],
    ],
)
def test_what_is_no_such_connection_is_said_at_once(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        server_name(data)


@given(st.one_of(st.binary(max_size=200), st.tuples(st.integers(0, len(HELLO) - 1), st.integers(0, 255))))
def test_whatever_comes_it_is_a_name_or_an_error(garbage: bytes | tuple[int, int]) -> None:
    if isinstance(garbage, tuple):
        at, byte = garbage
        garbage = HELLO[:at] + bytes([byte]) + HELLO[at + 1 :]
    with contextlib.suppress(ValueError, Incomplete):
        assert isinstance(server_name(garbage), str)


# ---- who may reach whom


def test_a_route_is_there_as_long_as_its_client_is(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert routes(queue.folders.values()) == {}
    queue.begin()
    assert routes(queue.folders.values()) == {NAME: Address("10.96.3.4", 8443)}
    queue.gone = True
    queue.settle()
    assert routes(queue.folders.values()) == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpcs://10.1.2.3:30443", Address("10.1.2.3", 30443)),
        ("grpcs://hub.example.org", Address("hub.example.org", 8443)),
        ("https://hub.example.org", Address("hub.example.org", 443)),
        ("grpc://hub.example.org", None),
        ("grpcs://:8443", None),
        ("grpcs://hub.example.org:99999", None),
    ],
)
def test_where_a_server_is(url: str, expected: Address | None) -> None:
    assert address(Server(url, NAME)) == expected


def test_a_client_dials_the_relay_and_expects_its_server() -> None:
    assert relayed(Server("grpcs://203.0.113.9:30443", NAME), "10.0.0.1:41000") == Server(
        "grpcs://10.0.0.1:41000", NAME
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"listen": "10.0.0.1"}, "is not HOST:PORT"),
        ({"listen": "10.0.0.1:70000"}, "is not HOST:PORT"),
        ({"listen": "::1:0"}, "is not HOST:PORT"),
        ({"listen": "[::1]"}, "is not HOST:PORT"),
        ({"listen": "[fd00::1::]:0"}, "is not HOST:PORT"),
        ({"listen": "[::]:0"}, "has no address"),
        ({"listen": "0.0.0.0:0"}, "has no address"),
        ({"listen": "10.0.0.1:0", "connections": 0}, "slurm.relay.connections"),
        ({"listen": "10.0.0.1:0", "open": True}, "slurm.relay"),
    ],
)
def test_the_site_file(wanted: dict[str, object], words: str) -> None:
    with pytest.raises(SiteError) as caught:
        site_file(slurm={"python": "/p", "relay": wanted})
    assert words in str(caught.value)
    assert "slurm.relay" in str(caught.value)


# ---- bytes


class Capitals:
    """A TLS server that answers in capitals what it is told."""

    def __init__(self, folder: Path) -> None:
        authority = pki.Authority.create(folder / "ca")
        authority.issue(folder / "tls", pki.server_id("umbel.local", "default", "digits"), [NAME])
        self.server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server_side.load_cert_chain(folder / "tls/tls.crt", folder / "tls/tls.key")
        self.client_side = ssl.create_default_context(cafile=str(folder / "tls/ca.crt"))
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Address:
        self._listening = await asyncio.start_server(self.answer, LOCAL, 0, ssl=self.server_side)
        return Address(LOCAL, self._listening.sockets[0].getsockname()[1])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, ssl.SSLError):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
        writer.close()

    async def dial(
        self, port: int, name: str = NAME, host: str = LOCAL
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(host, port, ssl=self.client_side, server_hostname=name)
        self._writers.append(streams[1])
        return streams

    async def plainly(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(LOCAL, port)
        self._writers.append(streams[1])
        return streams

    async def close(self) -> None:
        self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


class Bed:
    def __init__(self, server: Capitals, table: Routes, through: relay.Relay, port: int) -> None:
        self.server, self.table, self.relay, self.port = server, table, through, port

    async def says(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], line: bytes) -> bytes:
        streams[1].write(line)
        async with asyncio.timeout(PATIENCE):
            return await streams[0].readline()


@contextlib.asynccontextmanager
async def bed(folder: Path, limit: int = 8) -> AsyncIterator[Bed]:
    server, table = Capitals(folder), Routes()
    table[NAME] = await server.start()

    async def look() -> Routes:
        return dict(table)

    through = relay.Relay(look, limit)
    port = await through.start(LOCAL, [0])
    try:
        yield Bed(server, table, through, port)
    finally:
        await through.close()
        await server.close()


async def test_client_and_server_speak_tls_with_each_other_alone(tmp_path: Path) -> None:
    """The certificate that the client checks is the server's: the relay has none."""
    async with bed(tmp_path) as made:
        streams = await made.server.dial(made.port)
        assert await made.says(streams, b"one\n") == b"ONE\n"
        line = b"x" * 50_000 + b"\n"
        for _ in range(5):
            assert await made.says(streams, line) == line.upper()
        streams[1].close()


async def test_no_other_server_is_reached(tmp_path: Path) -> None:
    async with bed(tmp_path) as made:
        for name in ("other.default.umbel.internal", "localhost"):
            with pytest.raises((OSError, ssl.SSLError)):
                await made.server.dial(made.port, name)
        reader, writer = await made.server.plainly(made.port)
        writer.write(b"CONNECT 10.0.0.1:22 HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_a_connection_ends_with_its_client(tmp_path: Path) -> None:
    async with bed(tmp_path) as made:
        streams = await made.server.dial(made.port)
        assert await made.says(streams, b"one\n") == b"ONE\n"
        await made.relay.look()
        assert await made.says(streams, b"two\n") == b"TWO\n"
        del made.table[NAME]
        await made.relay.look()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await made.says(streams, b"three\n") == b""
        with pytest.raises((OSError, ssl.SSLError)):
            await made.server.dial(made.port)


async def test_there_are_no_more_connections_than_allowed(tmp_path: Path) -> None:
    async with bed(tmp_path, limit=2) as made:
        first, second = await made.server.dial(made.port), await made.server.dial(made.port)
        with pytest.raises((OSError, ssl.SSLError)):
            await made.server.dial(made.port)
        assert await made.says(first, b"one\n") == b"ONE\n"
        second[1].close()
        third = await _in_time(lambda: made.server.dial(made.port))
        assert await made.says(third, b"three\n") == b"THREE\n"


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HELLO_SECONDS", 0.1)
    async with bed(tmp_path) as made:
        reader, _ = await made.server.plainly(made.port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_what_is_not_taken_is_not_heaped_up(tmp_path: Path) -> None:
    """A server that does not read has its client wait: between them lies what buffers hold, and no more."""
    never, done = asyncio.Event(), asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await never.wait()
        writer.transport.abort()
        done.set()

    listening = await asyncio.start_server(deaf, LOCAL, 0)
    port = listening.sockets[0].getsockname()[1]
    async with bed(tmp_path) as made:
        made.table[NAME] = Address(LOCAL, port)
        await made.relay.look()
        _reader, writer = await made.server.plainly(made.port)
        writer.write(HELLO)
        taken = await _mebibytes_taken(writer, 200)
        assert taken < 40, "of the kernel's buffers on the way each holds a few MiB"
        writer.transport.abort()
    never.set()
    await done.wait()
    listening.close()


async def _in_time(dial: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]):  # type: ignore[no-untyped-def]
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError, ssl.SSLError):
                return await dial()
            await asyncio.sleep(0.05)


async def _mebibytes_taken(writer: asyncio.StreamWriter, most: int) -> int:
    """Until for a second nothing more is taken."""
    for taken in range(most):
        writer.write(bytes(1 << 20))
        try:
            async with asyncio.timeout(1.0):
                await writer.drain()
        except TimeoutError:
            return taken
    return most


# ---- the port


async def test_the_port_is_the_same_after_a_restart_and_another_only_if_it_is_taken(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "state")
    directory.hold()
    wanted = Wanted.model_validate({"listen": f"{LOCAL}:0"})
    async with gate.opened(wanted, directory) as first:
        pass
    async with gate.opened(wanted, directory) as second:
        assert second == first
    with socket.create_server((LOCAL, int(first.rpartition(":")[2]))):
        async with gate.opened(wanted, directory) as third:
            assert third != first
    async with gate.opened(wanted, directory) as fourth:
        assert fourth == third
    named = Wanted.model_validate({"listen": f"{LOCAL}:0", "address": "login1.cluster"})
    async with gate.opened(named, directory) as fifth:
        assert fifth == f"login1.cluster:{third.rpartition(':')[2]}"
    directory.close()


async def test_client_and_server_by_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with bed(tmp_path) as made:
        server = await asyncio.start_server(made.server.answer, "::1", 0, ssl=made.server.server_side)
        port = server.sockets[0].getsockname()[1]
        where = address(Server(f"grpcs://[::1]:{port}", NAME))
        assert where is not None

        async def look() -> Routes:
            return {NAME: where}

        through = relay.Relay(look, 1)
        try:
            streams = await made.server.dial(await through.start("[::1]", [0]), host="::1")
            assert await made.says(streams, b"one\n") == b"ONE\n"
        finally:
            await through.close()
            server.close()
    directory = StateDirectory(tmp_path / "state")
    directory.hold()
    async with gate.opened(Wanted.model_validate({"listen": "[::1]:0"}), directory) as reached:
        assert relayed(Server("grpcs://[fd00::9]:8443", NAME), reached).url == f"grpcs://{reached}"
        assert reached.startswith("[::1]:")
    directory.close()


def test_a_server_that_moves_does_not_cost_a_relayed_client_its_place(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.relay = "10.0.0.1:41000"
    queue.begin()
    (job,) = queue.active
    queue.become(job.id, "RUNNING", started=queue.now)
    queue.change(server={"url": "grpcs://10.96.9.9:9443", "name": NAME})
    queue.settle()
    assert [active.id for active in queue.active] == [job.id]
    assert routes(queue.folders.values()) == {NAME: Address("10.96.9.9", 9443)}
    queue.relay = "10.0.0.1:41001"
    queue.settle()
    assert [active.id for active in queue.active] != [job.id], "a relay elsewhere is another command line"
