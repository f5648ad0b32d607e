"""The server's one model: a flat buffer to compute in, and the frames that are broadcast.

Two representations, each as large as the model: the buffer becomes the next version in place, while the frames still
hold the version that members may be fetching.
"""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
from numpy.typing import NDArray

from umbel.wire import frames
from umbel.wire.layout import Layout
from umbel.wire.transport import Broadcast


class ModelStore:
    """``version`` is the number of the committed round that made the model; 0 is the initial one."""

    def __init__(self, layout: Layout, buffer: NDArray[np.uint8], version: int, members: int) -> None:
        self.layout = layout
        self.buffer = buffer
        self.version = version
        self._frame_bytes = frames.share(members)
        self._broadcast: Broadcast | None = None
        self._ready = asyncio.Condition()

    @property
    def digest(self) -> str:
        """Of the published version, hex; empty while none is published."""
        return self._broadcast.digest.hex() if self._broadcast else ""

    async def publish(self, version: int) -> None:
        """Serialise the buffer as ``version``. The old frames go first: never two broadcasts in memory."""
        self._broadcast = None
        work = partial(frames.broadcast, version, self.buffer, self._frame_bytes)
        made = await asyncio.get_running_loop().run_in_executor(None, work)
        async with self._ready:
            self.version, self._broadcast = version, made
            self._ready.notify_all()

    async def fetch(self, version: int) -> Broadcast | None:
        """The published model, waiting while it is being serialised; None if it is not of this version."""
        async with self._ready:
            await self._ready.wait_for(lambda: self._broadcast is not None)
        return self._broadcast if self._broadcast and self._broadcast.version == version else None
