"""When an upload must make room: pure arithmetic.

Slots are few (two models' worth of bytes), silos many. While nobody waits an upload may take all the time that the
round has. Once somebody waits, the time left is to be shared: an upload that at its present pace would hold its slot
for longer than its share is ended and may come again.
"""

from __future__ import annotations

MIN_SECONDS = 1.0  # a pace measured over less says nothing


def on_course(*, received: int, length: int, elapsed: float, seconds_left: float, slots: int, waiting: int) -> bool:
    """Whether an upload may keep its slot. Bytes and seconds; ``waiting`` uploads want one of ``slots``."""
    if waiting == 0 or elapsed < MIN_SECONDS:
        return True
    if received == 0:
        return False
    to_go = elapsed * (length - received) / received
    return to_go <= seconds_left * slots / (slots + waiting)
