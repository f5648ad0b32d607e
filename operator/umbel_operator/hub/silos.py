"""The silos that the hub knows: their Silo objects, and whether their agents are alive by their Leases.

One book for all jobs, kept by two watches; each change wakes the jobs that it may concern.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from umbel_operator import names
from umbel_operator.access import AccessError
from umbel_operator.conditions import Condition, find, is_true, merge, seconds, timestamp
from umbel_operator.hub.observed import Object, Silo
from umbel_operator.kube import LEASE, SILO, ApiError, Kube

LOOK_SECONDS = 5.0
SILENT_SECONDS = 40.0  # as in the agent's Lease
HEARTBEAT_SHOWN_SECONDS = 300.0  # a Silo's lastHeartbeatTime is written no more often than this
MAX_DATASETS = 256


class SiloBook:
    """``wake``: called with the names of silos that changed for the jobs."""

    def __init__(self, kube: Kube, wake: Callable[[set[str]], None]) -> None:
        self._kube = kube
        self._wake = wake
        self._silos: dict[str, Object] = {}
        self._leases: dict[str, Object] = {}  # by namespace
        self._known: dict[str, Silo] = {}
        self._silos_read, self._leases_read = asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def silos(self) -> dict[str, Silo]:
        return self._known

    async def ready(self) -> None:
        """Returns once every Silo and Lease has been read: before that, a silo not found may well exist."""
        await self._silos_read.wait()
        await self._leases_read.wait()
        self._look(time.time())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_silos())
            tasks.create_task(self._watch_leases())
            tasks.create_task(self._keep_status())

    async def _watch_silos(self) -> None:
        async for change, item in self._kube.watch(SILO):
            if change == "SYNCED":
                self._silos_read.set()
                continue
            name = item["metadata"]["name"]
            if change == "DELETED":
                self._silos.pop(name, None)
            else:
                self._silos[name] = _kept(item)
            self._look(time.time())
            self._changed.set()

    async def _watch_leases(self) -> None:
        selector = f"{names.COMPONENT}=agent"
        async for change, item in self._kube.watch(LEASE, selector=selector):
            if change == "SYNCED":
                self._leases_read.set()
                continue
            namespace = item["metadata"]["namespace"]
            if change == "DELETED":
                self._leases.pop(namespace, None)
            else:
                self._leases[namespace] = item
            self._changed.set()

    def _look(self, now: float) -> None:
        """Find out what changed for the jobs."""
        fresh = {name: _silo(item, self._lease(name), now) for name, item in self._silos.items()}
        changed = {name for name in fresh.keys() | self._known.keys() if fresh.get(name) != self._known.get(name)}
        self._known = fresh
        if changed:
            self._wake(changed)

    def _lease(self, silo: str) -> Object | None:
        return self._leases.get(names.silo_namespace(silo))

    async def _keep_status(self) -> None:
        await self._silos_read.wait()
        await self._leases_read.wait()
        while True:
            now = time.time()
            self._look(now)
            for name, item in list(self._silos.items()):
                after = status(item, self._lease(name), now)
                if after != ours(item["status"]):
                    await self._write(name, after)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    async def _write(self, name: str, after: dict[str, Any]) -> None:
        body = {"apiVersion": SILO.api_version, "kind": SILO.kind, "metadata": {"name": name}, "status": after}
        with contextlib.suppress(ApiError, AccessError):  # the next look tries again
            self._silos[name] = _kept(await self._kube.apply_status(body, manager=names.HUB_MANAGER))


def _kept(item: Object) -> Object:
    meta = {
        key: item["metadata"][key] for key in ("name", "generation", "labels", "annotations") if key in item["metadata"]
    }
    return {"metadata": meta, "spec": item.get("spec") or {}, "status": item.get("status") or {}}


def ours(status: Mapping[str, Any]) -> dict[str, Any]:
    """A Silo's status without what the join service says there."""
    ready = [entry for entry in status.get("conditions") or () if entry["type"] == "Ready"]
    return {**status, "conditions": ready} if status else {}


def _heard(lease: Object | None) -> float | None:
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    return seconds(renewed) if renewed else None


def _report(lease: Object | None) -> dict[str, Any]:
    try:
        found = json.loads(((lease or {})["metadata"].get("annotations") or {})[names.AGENT_REPORT])
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _datasets(lease: Object | None) -> tuple[str, ...] | None:
    found = _report(lease).get("datasets")
    return tuple(sorted(map(str, found))[:MAX_DATASETS]) if isinstance(found, list) else None


def _silo(item: Object, lease: Object | None, now: float) -> Silo:
    spec, heard = item["spec"], _heard(lease)
    return Silo(
        name=item["metadata"]["name"],
        labels=item["metadata"].get("labels") or {},
        suspended=bool(spec.get("suspend")),
        allowed_namespaces=tuple(spec.get("allowedNamespaces") or ()),
        datasets=_datasets(lease),
        alive=None if heard is None else now - heard <= SILENT_SECONDS,
    )


def status(item: Object, lease: Object | None, now: float) -> dict[str, Any]:
    """Of a Silo; the heartbeat's time is coarse, so that a live silo costs no write."""
    before, heard, report = item["status"], _heard(lease), _report(lease)
    generation = item["metadata"].get("generation", 0)
    merged = merge(before.get("conditions") or (), [_ready(item, heard, now)], generation, now)
    after: dict[str, Any] = {"conditions": merged}
    for name, key in (("backend", "backend"), ("agentVersion", "version")):
        if isinstance(report.get(key), str):
            after[name] = report[key][:63]
    if (datasets := _datasets(lease)) is not None:
        after["datasets"] = list(datasets)
    if heard is not None:
        shown = before.get("lastHeartbeatTime")
        turned = find(before.get("conditions"), "Ready").get("status") != merged[0]["status"]
        old = shown is None or heard - seconds(shown) >= HEARTBEAT_SHOWN_SECONDS
        after["lastHeartbeatTime"] = timestamp(heard) if old or turned else shown
    return after


def _ready(item: Object, heard: float | None, now: float) -> Condition:
    if item["spec"].get("suspend"):
        return Condition("Ready", "False", "Suspended", "spec.suspend is set")
    invited = (item["metadata"].get("annotations") or {}).get(names.INVITED_UNTIL)
    if heard is None and invited and not is_true(item["status"].get("conditions"), "Joined"):
        if now < seconds(invited):
            return Condition("Ready", "Unknown", "Invited", f"it may join until {invited}")
        return Condition("Ready", "Unknown", "InvitationExpired", f"it did not join until {invited}; invite it again")
    if heard is None:
        return Condition("Ready", "Unknown", "NeverSeen", "its agent has not reported yet")
    if now - heard > SILENT_SECONDS:
        return Condition("Ready", "Unknown", "AgentSilent", "its agent does not report; its clients may run or not")
    return Condition("Ready", "True", "AgentAlive", "")
