"""Where a loop may stop, and how all ranks come to stop at the same one.

Ranks that reduce gradients together must take the same number of steps, or one waits for ever. A rank counts its
points: each time that its loop asks whether to stop. To stop, rank 0 has every rank hold at its next point and say how
many it has passed; then all go on to the largest of these numbers, which nobody has left behind yet. Those that are in
the middle of a step, waiting for one that holds, are not waited for: their channel answers, not their loop.
"""

from __future__ import annotations

import threading


class Points:
    """Of one call, at one rank. The loop and the channel are different threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._passed = 0
        self._held = False
        self._limit: int | None = None

    def stop_here(self) -> bool:
        """Whether the loop ends now. Waits while the ranks agree."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
            if self._limit is not None and self._passed >= self._limit:
                return True
            self._passed += 1
            return False

    def hold(self) -> int:
        """No further point is passed until `go_on`; how many were."""
        with self._changed:
            self._held = True
            return self._passed

    def go_on(self, limit: int) -> None:
        """To ``limit`` points, and no further."""
        with self._changed:
            self._limit, self._held = limit, False
            self._changed.notify_all()

    @property
    def decided(self) -> bool:
        with self._changed:
            return self._limit is not None
