"""Where an agent keeps its membership: a file that only its owner reads, or a Secret of its namespace."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Protocol

from umbel.wire.pki import write_private
from umbel_operator import kube
from umbel_operator.agent import join
from umbel_operator.agent.join import JoinError, Membership

FILE = "membership.json"
KEY = "membership.json"


class Store(Protocol):
    @property
    def where(self) -> str:
        """For people."""
        ...

    async def load(self) -> Membership | None:
        """Raises JoinError, ApiError."""
        ...

    async def save(self, membership: Membership) -> None:
        """At once and as a whole. Raises JoinError, ApiError."""
        ...


class FileStore:
    """``folder``: made if need be."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.expanduser().absolute() / FILE
        self.where = str(self.path)

    async def load(self) -> Membership | None:
        try:
            return join.read(self.path.read_text(), self.where)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise JoinError(f"{self.path}: cannot be read ({error})") from None

    async def save(self, membership: Membership) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self.path, membership.text().encode())
        except OSError as error:
            raise JoinError(f"{self.path}: cannot be written ({error.strerror}); name another --state-dir") from None


class SecretStore:
    def __init__(self, silo: kube.Kube, namespace: str, name: str) -> None:
        self._silo, self._namespace, self._name = silo, namespace, name
        self.where = f"Secret {name} in namespace {namespace}"

    async def load(self) -> Membership | None:
        found = await self._silo.get(kube.SECRET, self._name, self._namespace)
        text = ((found or {}).get("data") or {}).get(KEY)
        return join.read(base64.b64decode(text).decode(), f"Secret {self._name}") if text else None

    async def save(self, membership: Membership) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {"app.kubernetes.io/managed-by": "umbel"},
            },
            "type": "Opaque",
            "data": {KEY: base64.b64encode(membership.text().encode()).decode()},
        }
        await self._silo.apply(secret, manager="umbel-agent")
