"""How a listening socket of asyncio's is closed."""

from __future__ import annotations

import asyncio
import socket


async def stop_accepting(listening: socket.socket) -> None:
    """Await this before its ``asyncio.Server`` is closed.

    A connection that was accepted in the very pass of the loop in which its Server closes is refused by the Server
    (an assertion in ``_attach``, of which nobody hears) and left open: its caller would wait for an answer until it
    gives up. After this, what was accepted belongs to the Server, and nothing more is accepted.
    """
    asyncio.get_running_loop().remove_reader(listening)
    await asyncio.sleep(0)
