"""Where requests and answers are kept: one document for the agent to write, one for the administrator alone."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from umbel.wire.pki import write_private
from umbel_operator import kube, names
from umbel_operator.agent.federatedclient import SILO

REQUESTS, ANSWERS = "requests.json", "answers.json"
LOOK_SECONDS = 1.0
AGENT, ADMINISTRATOR = "umbel-agent", "umbel-administrator"


@dataclass(frozen=True, slots=True)
class Documents:
    """As text; "" for one that is not there."""

    requests: str = ""
    answers: str = ""


class Store(Protocol):
    """Methods raise OSError, ApiError or AccessError."""

    async def read(self) -> Documents: ...
    async def write_requests(self, text: str) -> None: ...
    async def write_answers(self, text: str, before: str) -> bool:
        """False: they are not what they were before; read them again."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """For ever: the answers may have changed."""
        ...


class FolderStore:
    """In the agent's state directory."""

    def __init__(self, state: Path) -> None:
        self._folder = state.expanduser() / "approvals"

    async def read(self) -> Documents:
        return Documents(*(self._text(name) for name in (REQUESTS, ANSWERS)))

    async def write_requests(self, text: str) -> None:
        self._write(REQUESTS, text)

    async def write_answers(self, text: str, before: str) -> bool:
        with self._locked():
            if self._text(ANSWERS) != before:
                return False
            self._write(ANSWERS, text)
        return True

    async def changes(self) -> AsyncIterator[None]:
        stamp: object = ()  # of no file, nor of none: that nothing was answered so far is heard too
        while True:
            if (fresh := self._stamp()) != stamp:
                stamp = fresh
                yield
            await asyncio.sleep(LOOK_SECONDS)

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._folder / name, text.encode())

    def _text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return ""

    def _stamp(self) -> object:
        try:
            stat = (self._folder / ANSWERS).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def approvals(silo: str) -> str:
    """Labels of the silo's two ConfigMaps."""
    return f"{SILO}={silo},{names.COMPONENT}=approvals"


class ConfigMapStore:
    """Two ConfigMaps in the agent's namespace."""

    def __init__(self, api: kube.Kube, namespace: str, silo: str) -> None:
        self._api = api
        self._namespace = namespace
        self._silo = silo

    async def read(self) -> Documents:
        found = {
            item["metadata"]["name"]: item.get("data") or {}
            for item in await self._api.list(kube.CONFIG_MAP, self._namespace, selector=self._selector)
        }
        return Documents(*(found.get(self._name(name), {}).get(name, "") for name in (REQUESTS, ANSWERS)))

    async def write_requests(self, text: str) -> None:
        await self._api.apply(self._config_map(REQUESTS, text), manager=AGENT)

    async def write_answers(self, text: str, before: str) -> bool:
        live = await self._api.get(kube.CONFIG_MAP, self._name(ANSWERS), self._namespace)
        if ((live or {}).get("data") or {}).get(ANSWERS, "") != before:
            return False
        wanted = self._config_map(ANSWERS, text)
        if live is not None:  # of two administrators at once one is told to look again
            wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            await (self._api.apply(wanted, manager=ADMINISTRATOR) if live else self._api.create(wanted))
        except kube.ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def changes(self) -> AsyncIterator[None]:
        async for _, _ in self._api.watch(kube.CONFIG_MAP, self._namespace, selector=self._selector):
            yield

    @property
    def _selector(self) -> str:
        return approvals(self._silo)

    def _name(self, document: str) -> str:
        return f"umbel-{document.removesuffix('.json')}-{self._silo}"

    def _config_map(self, document: str, text: str) -> kube.Object:
        labels = {names.MANAGED_BY: "umbel", SILO: self._silo, names.COMPONENT: "approvals"}
        metadata = {"name": self._name(document), "namespace": self._namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {document: text}}
