"""Whom the first bytes of a TLS connection are for (RFC 8446, 4.1.2; RFC 6066, 3). Pure."""

from __future__ import annotations

MOST_BYTES = 1 << 14  # of a ClientHello with the headers of its records
HANDSHAKE, CLIENT_HELLO, SERVER_NAME, HOST_NAME = 22, 1, 0, 0


class Incomplete(Exception):
    """A ClientHello may begin so, and more of it is needed."""


def server_name(data: bytes) -> str:
    """The name that a ClientHello asks for, in lower case. Raises Incomplete, and ValueError for what is none or names
    nobody."""
    fields = _Fields(_handshake(data))
    fields.skip(2 + 32)  # version, random
    fields.take(1)  # session
    fields.take(2)  # cipher suites
    fields.take(1)  # compression
    extensions = _Fields(fields.take(2))
    while extensions.left:
        kind = extensions.number(2)
        content = extensions.take(2)
        if kind == SERVER_NAME:
            return _host(_Fields(_Fields(content).take(2)))
    raise ValueError("it names no server")


def _host(names: _Fields) -> str:
    while names.left:
        kind, name = names.number(1), names.take(2)
        if kind == HOST_NAME:
            return name.decode("ascii").lower()
    raise ValueError("it names no server")


def _handshake(data: bytes) -> bytes:
    """The ClientHello's body, which may be spread over several records."""
    whole, at = b"", 0
    while len(whole) < 4 or len(whole) < 4 + int.from_bytes(whole[1:4], "big"):
        header = data[at : at + 5]
        if header[:1] not in (b"", bytes([HANDSHAKE])) or header[1:2] not in (b"", b"\x03"):
            raise ValueError("it is not TLS")
        end = at + 5 + int.from_bytes(header[3:5], "big")
        if end > MOST_BYTES or (end == at + 5 and len(header) == 5):
            raise ValueError("its records are too long, or empty")
        whole += data[at + 5 : end]
        if whole[:1] not in (b"", bytes([CLIENT_HELLO])) or int.from_bytes(whole[1:4], "big") > MOST_BYTES:
            raise ValueError("it does not begin with a ClientHello")
        if len(header) < 5 or len(data) < end:
            raise Incomplete
        at = end
    return whole[4 : 4 + int.from_bytes(whole[1:4], "big")]


class _Fields:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def skip(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError("a field of its ClientHello is longer than the whole")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.skip(width), "big")

    def take(self, width: int) -> bytes:
        """A field whose length comes before it, in ``width`` bytes."""
        return self.skip(self.number(width))
