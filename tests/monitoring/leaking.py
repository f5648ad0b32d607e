"""A server that holds updates while idle. There is none: what a real one says is served with two numbers changed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

JOB = "leaking"
IDLE = re.compile(rb'^(fl_job_status_phase\{.*phase="Complete".*\}) .*$', re.MULTILINE)
HELD = re.compile(rb"^(fl_server_update_buffer_bytes\{.*\}) .*$", re.MULTILINE)


@contextmanager
def leaking(metrics: bytes, job: str) -> Iterator[str]:
    """``metrics``: what the server of ``job`` said; where it is to be scraped from, for as long as the block lasts."""
    text = metrics.replace(f'fl_job="{job}"'.encode(), f'fl_job="{JOB}"'.encode())
    for pattern, value in ((IDLE, b"1"), (HELD, b"4096")):
        text, found = pattern.subn(rb"\1 " + value, text)
        assert found == 1

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
