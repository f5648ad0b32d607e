"""When a peer that says nothing is given up: after 20 s of silence it is asked, and has 10 s to answer."""

from __future__ import annotations

ASK_MS = 20_000
ANSWER_MS = 10_000
OPTIONS: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", ASK_MS),
    ("grpc.keepalive_timeout_ms", ANSWER_MS),  # for the peer's kernel: a machine that is gone
    ("grpc.http2.ping_timeout_ms", ANSWER_MS),  # for its process: one that is frozen; a minute if it is not set
]
