"""Asks an API server about one custom resource after the other over one connection: a verdict takes milliseconds."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

NOT_CHECKED = "some validation rules were not checked"


@dataclass(frozen=True)
class Answer:
    """``causes``: what kubectl prints of a refusal, ``field: message``."""

    status: int
    body: Mapping[str, Any]

    @property
    def accepted(self) -> bool:
        return self.status < 300

    @property
    def causes(self) -> list[str]:
        if self.accepted:
            return []
        causes = self.body.get("details", {}).get("causes") or [{"field": "", "message": self.body.get("message", "")}]
        return [f"{cause.get('field')}: {cause['message']}" for cause in causes if NOT_CHECKED not in cause["message"]]


class Asker:
    """``namespace`` None: a cluster-scoped resource."""

    def __init__(self, kubeconfig: Path, plural: str, namespace: str | None = "default") -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        (cluster,), (user,) = config["clusters"], config["users"]
        self._url = urlsplit(cluster["cluster"]["server"])
        self._tls = _tls(cluster["cluster"], user["user"])
        self._connection = self._connect()
        scope = f"/namespaces/{namespace}" if namespace else ""
        self._path = f"/apis/umbel.dev/v1alpha1{scope}/{plural}"

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = True) -> Answer:
        """Refuses unknown fields, as kubectl has it done."""
        return self._ask("POST", "", obj, dry_run)

    def replace(self, obj: Mapping[str, Any], *, dry_run: bool = True) -> Answer:
        return self._ask("PUT", f"/{obj['metadata']['name']}", obj, dry_run)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(str(self._url.hostname), self._url.port, context=self._tls, timeout=30)

    def _ask(self, method: str, name: str, obj: Mapping[str, Any], dry_run: bool) -> Answer:
        path = f"{self._path}{name}?fieldValidation=Strict" + "&dryRun=All" * dry_run
        self._connection.request(method, path, json.dumps(_as_kubectl(obj)), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return Answer(response.status, json.loads(response.read()))


def _as_kubectl(value: Any) -> Any:
    """kubectl writes 3.0 as 3; an integer field that a rule reads takes nothing else."""
    if isinstance(value, dict):
        return {key: _as_kubectl(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_kubectl(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _tls(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # ssl reads it from files only
        file.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        file.flush()
        context.load_cert_chain(file.name)
    return context


@contextlib.contextmanager
def asking(kubeconfig: Path, plural: str, namespace: str | None = "default") -> Iterator[Asker]:
    asker = Asker(kubeconfig, plural, namespace)
    try:
        yield asker
    finally:
        asker.close()
