"""What goes over the channel between two ranks: a line of JSON, and behind a call its parameters as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from umbel.wire.layout import DTYPES, Array

LINE_BYTES = 1 << 24  # names of a million tensors
BLOCK = 1 << 20
KINDS = frozenset({"hello", "welcome", "call", "done", "hold", "passed", "go_on", "end"})

Message = dict[str, Any]


class ChannelError(Exception):
    """The other end is gone, or speaks nonsense."""


async def send(writer: asyncio.StreamWriter, message: Message, arrays: Mapping[str, Array] | None = None) -> None:
    """Raises ChannelError."""
    given = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    tensors = [[name, array.dtype.name, list(array.shape)] for name, array in given.items()]
    try:
        writer.write(json.dumps({**message, "tensors": tensors}).encode() + b"\n")
        for array in given.values():
            flat = array.reshape(-1).view(np.uint8).data
            for start in range(0, len(flat), BLOCK):
                writer.write(bytes(flat[start : start + BLOCK]))  # the array may change before it is on its way
                await writer.drain()
        await writer.drain()
    except (OSError, RuntimeError) as error:  # RuntimeError: of a transport that is closed
        raise ChannelError(f"nothing can be sent to the other rank: {error}") from None


async def receive(reader: asyncio.StreamReader) -> tuple[Message, dict[str, Array]]:
    """Raises ChannelError, at the end of the channel too."""
    try:
        line = await reader.readuntil(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict) or message.get("kind") not in KINDS:
            raise ChannelError("the other rank sent something that is no message")
        return message, {name: await _array(reader, dtype, shape) for name, dtype, shape in message["tensors"]}
    except asyncio.IncompleteReadError:
        raise ChannelError("the other rank has gone") from None
    except OSError as error:
        raise ChannelError(f"the other rank has gone: {error}") from None
    except (ValueError, TypeError, KeyError, MemoryError, asyncio.LimitOverrunError) as error:
        raise ChannelError(f"the other rank sent something that is no message: {error}") from None


async def _array(reader: asyncio.StreamReader, dtype: str, shape: list[int]) -> Array:
    if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"a tensor of {dtype} {shape}")
    array = np.empty(shape, dtype)
    flat = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(flat), BLOCK):
        block = await reader.readexactly(min(BLOCK, len(flat) - start))
        flat[start : start + len(block)] = block
    return array
