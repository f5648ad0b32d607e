"""A port that is kept for a server between its lives."""

from __future__ import annotations

import socket

import pytest

from umbel.cli.running.port import reserved


def listener(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def test_servers_come_and_go_on_it() -> None:
    with reserved(0) as port:
        for _ in range(2):
            with listener(port) as server, socket.create_connection(server.getsockname()):
                pass


def test_nobody_else_gets_it_while_no_server_is_there() -> None:
    with reserved(0) as port, socket.socket() as stranger:
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            stranger.connect(("127.0.0.1", port))


def test_one_that_is_in_use_is_an_error() -> None:
    with listener(0) as server, pytest.raises(OSError, match="in use"), reserved(server.getsockname()[1]):
        pass
