"""The administrator's plain HTTP requests to an API server: enough to wait for it, to add to it and to look at it.

A look by kubectl is a process that uses a tenth of a second of a core; a test that waits looks several times a second.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .tools import ClusterError

UMBEL = "/apis/umbel.dev/v1alpha1"


@dataclass(frozen=True)
class Client:
    address: str
    port: int
    authority: Path
    certificate: Path
    key: Path

    def request(self, method: str, path: str, body: Any = None, seconds: float = 10) -> tuple[int, Any]:
        """Status and content; status 0: no answer."""
        with contextlib.suppress(OSError, http.client.HTTPException), self._connection(seconds) as connection:
            patch = "application/merge-patch+json" if method == "PATCH" else "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": patch})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content.startswith(b"{") else content
        return 0, None

    def status(self, method: str, path: str, body: Any = None) -> int:
        return self.request(method, path, body)[0]

    def text(self, path: str) -> str:
        """Raises ClusterError for any answer but 200."""
        status, content = self.request("GET", path, seconds=60)
        if status != 200:
            raise ClusterError(f"GET {path}: {status or 'no answer'} {content}")
        return content.decode() if isinstance(content, bytes) else json.dumps(content)

    def find(self, path: str) -> dict[str, Any] | None:
        """An object; None: there is none. Raises ClusterError for any other answer."""
        status, content = self.request("GET", path, seconds=60)
        if status not in (200, 404):
            raise ClusterError(f"GET {path}: {status or 'no answer'} {content}")
        return dict(content) if status == 200 else None

    def listed(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        """With their kind, as kubectl shows them. Raises ClusterError as `find` does."""
        asked = f"{path}?{urlencode({'labelSelector': selector})}"
        found = self.find(asked)
        if found is None:
            raise ClusterError(f"GET {path}: no such resource")
        kind = found["kind"].removesuffix("List")
        return [{"kind": kind, **item} for item in found["items"]]

    def follow(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects at `path`, then every object that changes, until the server ends it."""
        status, content = self.request("GET", path)
        if status != 200:
            return
        yield from content["items"]
        version = content["metadata"]["resourceVersion"]
        with contextlib.suppress(OSError, http.client.HTTPException), self._connection(None) as connection:
            connection.request("GET", f"{path}?watch=true&resourceVersion={version}")
            answer = connection.getresponse()
            while answer.status == 200 and (line := answer.readline()):
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED"):
                    continue
                yield event["object"]

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.key)
        return context

    @contextlib.contextmanager
    def _connection(self, seconds: float | None) -> Iterator[http.client.HTTPSConnection]:
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=seconds, context=self._tls)
        with contextlib.closing(connection):
            yield connection
