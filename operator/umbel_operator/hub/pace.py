"""When a loop goes on: at once, or a little later so that what comes in a burst is one pass. Pure."""

from __future__ import annotations

SETTLE_SECONDS = 0.1  # what happens at once in a cluster is several events
PASSES_AT_ONCE = 16  # each holds all of its job while it waits for the API server, which has no more of it from more
POLL_SECONDS = 1.0  # between two looks at a server's /status
POLLS_A_SECOND = 50.0  # of all servers together: each is a TLS handshake of its own


def pause(since: float, took: float, jitter: float) -> float:
    """Seconds from being woken to the next pass. ``since`` the last one ended, which ``took`` so long: a loop that was
    idle goes on at once, a busy one rests for as long as it worked. ``jitter``: about 1."""
    return max(0.0, max(SETTLE_SECONDS, took) * jitter - since)


def poll_seconds(servers: int) -> float:
    """Between two looks at each of so many servers."""
    return max(POLL_SECONDS, servers / POLLS_A_SECOND)
