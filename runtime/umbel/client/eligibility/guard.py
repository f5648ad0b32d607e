"""Watches over a task: it is not begun, and not gone on with, while the silo cannot take part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from umbel.client.work import Outcome, Work
from umbel.wire import umbel_pb2 as pb

log = logging.getLogger("umbel.client")

LOOK_SECONDS = 5.0


class Guard:
    """``look``: what speaks against taking part, or None; called in a thread. ``partial``: on a loss in the middle of
    training what was done is sent, if the job takes partial updates."""

    def __init__(self, look: Callable[[], str | None], *, partial: bool, every: float = LOOK_SECONDS) -> None:
        self._look = look
        self._partial = partial
        self._every = every

    async def admits(self, work: Work) -> bool:
        """Whether this task may begin; if not, it is declined."""
        reason = await asyncio.to_thread(self._look)
        if reason is not None:
            log.info("round %d: declined, as this silo is not eligible now: %s", work.task.round, reason)
            work.outcome = work.declined(pb.DECLINE_NOT_ELIGIBLE)
        return reason is None

    async def watch(self, work: Work, perform: Coroutine[Any, Any, Outcome]) -> Outcome:
        """What `perform` makes of the task, or of the part of it until the silo ceased to be eligible. When that is
        declined, the user's code may still be on its way to its end."""
        performing = asyncio.ensure_future(perform)
        try:
            reason = await self._lost(performing)
            if reason is None:
                return performing.result()
            work.progress.stop.set()
            keeps = self._partial and work.task.phase == pb.TRAIN and work.task.accepts_partial
            what = "what is done is sent" if keeps else "the task is declined"
            log.warning("round %d: this silo is not eligible any more: %s; %s", work.task.round, reason, what)
            outcome = await performing if keeps else None
            return outcome if outcome and outcome.update else work.declined(pb.DECLINE_NOT_ELIGIBLE)
        finally:
            performing.cancel()

    async def recovered(self) -> None:
        """Return when the silo can take part."""
        while await asyncio.to_thread(self._look) is not None:  # noqa: ASYNC110 - the machine is what changes
            await asyncio.sleep(self._every)

    async def _lost(self, performing: asyncio.Future[Outcome]) -> str | None:
        """Why the silo is not eligible any more; None when `performing` has ended before."""
        while not (await asyncio.wait({performing}, timeout=self._every))[0]:
            reason = await asyncio.to_thread(self._look)
            if reason is not None and not performing.done():
                return reason
        return None
