"""A collector of traces that keeps what it is sent: OTLP over HTTP.

python collector.py PORT FOLDER      each request's body is a file there, beside it the header `authorization`
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
NUMBERS = count()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        file = FOLDER / f"{next(NUMBERS)}"
        file.with_suffix(".authorization").write_text(self.headers.get("authorization", ""))
        file.with_suffix(".new").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        file.with_suffix(".new").rename(file.with_suffix(".traces"))
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


ThreadingHTTPServer(("", PORT), Handler).serve_forever()
