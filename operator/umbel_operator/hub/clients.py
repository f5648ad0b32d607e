"""Which FederatedClients each job has: names, from a watch of their metadata. One book for all jobs; there may be tens
of thousands, and to ask the API server for those of one job it would have to look at all."""

from __future__ import annotations

import asyncio
from sys import intern
from typing import Protocol

from umbel_operator import names
from umbel_operator.hub.attention import Name
from umbel_operator.hub.kept import version
from umbel_operator.hub.observed import Object
from umbel_operator.kube import FEDERATED_CLIENT, Kube


class Heard(Protocol):
    def __call__(self, uid: str, name: Name, version: int | None) -> None:
        """Of a job's client; ``version`` None: it is gone, 0: not known."""


class ClientBook:
    def __init__(self, kube: Kube, heard: Heard) -> None:
        self._kube = kube
        self._heard = heard
        self._owners: dict[Name, str] = {}
        self._of: dict[str, set[Name]] = {}
        self._read = asyncio.Event()

    def jobs(self) -> frozenset[str]:
        """The uids of those that have any."""
        return frozenset(self._of)

    def of(self, uid: str) -> frozenset[Name]:
        return frozenset(self._of.get(uid, ()))

    async def ready(self) -> None:
        """Returns once all have been read: before that, a client not found may well exist."""
        await self._read.wait()

    async def run(self) -> None:
        async for change, item in self._kube.watch(FEDERATED_CLIENT, selector=names.JOB_UID, metadata_only=True):
            if change == "SYNCED":
                self._read.set()
            else:
                self.saw(change, item)

    def saw(self, change: str, item: Object) -> None:
        meta = item["metadata"]
        name = (meta["namespace"], meta["name"])
        uid = intern((meta.get("labels") or {}).get(names.JOB_UID, ""))  # one string for all clients of a job
        before = self._owners.get(name)
        if before is not None and (change == "DELETED" or before != uid):
            self._forget(before, name)
        if change != "DELETED":
            self._owners[name] = uid
            self._of.setdefault(uid, set()).add(name)
            self._heard(uid, name, version(item))

    def _forget(self, uid: str, name: Name) -> None:
        self._owners.pop(name, None)
        mine = self._of.get(uid, set())
        mine.discard(name)
        if not mine:
            self._of.pop(uid, None)
        self._heard(uid, name, None)
