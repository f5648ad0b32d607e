"""An API server in memory, as `kube.Kube` is spoken to: what is stored is kept, finalizers hold up what is deleted,
and what controllers would do meanwhile is done whenever somebody waits."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from umbel_operator.kube import KINDS, ApiError, Kind, Object, Objects

Key = tuple[str, str, str]  # kind, namespace, name


class Api:
    """``calls``: verbs and names, in order. ``absent``: kinds that are not installed."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.absent: set[str] = set()
        self.calls: list[str] = []
        self.clock = Clock()
        self._versions = itertools.count(1)

    def put(self, kind: str, name: str, namespace: str = "", *, labels: Object | None = None, **more: Any) -> Object:
        """Metadata may be given as ``meta``."""
        metadata = {"name": name, "uid": f"uid-{kind}-{name}", "labels": labels or {}, **more.pop("meta", {})}
        if namespace:
            metadata["namespace"] = namespace
        obj = {"kind": kind, "metadata": metadata, **more}
        self._store((kind, namespace, name), obj)
        return obj

    def names(self, kind: str) -> list[str]:
        return [key[2] for key in self.objects if key[0] == kind]

    def one(self, kind: str, name: str) -> Object:
        (found,) = (obj for key, obj in self.objects.items() if (key[0], key[2]) == (kind, name))
        return found

    def gone(self, kind: str, name: str) -> None:
        """As the garbage collector, or a kubelet."""
        for key in [key for key in self.objects if (key[0], key[2]) == (kind, name)]:
            del self.objects[key]

    # ---- the verbs of kube.Kube

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        return copy.deepcopy(self.objects.get(self._key(kind, name, namespace)))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, selector: str = "", metadata_only: bool = False
    ) -> Objects:
        if kind.kind in self.absent:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return [
            copy.deepcopy({"metadata": obj["metadata"]} if metadata_only else obj)
            for (k, n, _), obj in self.objects.items()
            if k == kind.kind and namespace in (None, n) and _selected(obj, selector)
        ]

    async def patch(self, kind: Kind, name: str, namespace: str | None, body: Object) -> Object | None:
        key = self._key(kind, name, namespace)
        self.calls.append(f"patch {kind.kind}/{name}")
        found = self.objects.get(key)
        if found is None:
            return None
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        merged = _merged(found, body)
        self._store(key, merged)
        if "deletionTimestamp" in merged["metadata"] and not merged["metadata"].get("finalizers"):
            del self.objects[key]
        return copy.deepcopy(merged)

    async def delete(self, kind: Kind, name: str, namespace: str | None = None, *, uid: str | None = None) -> bool:
        key = self._key(kind, name, namespace)
        self.calls.append(f"delete {kind.kind}/{name}")
        found = self.objects.get(key)
        if found is None or uid not in (None, found["metadata"]["uid"]):
            return False
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
        else:
            del self.objects[key]
        return True

    # ---- pieces

    def _key(self, kind: Kind, name: str, namespace: str | None) -> Key:
        assert KINDS[kind.api_version, kind.kind] == kind
        return kind.kind, (namespace or "") if kind.namespaced else "", name

    def _store(self, key: Key, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[key] = obj


class Clock:
    """Stands in for the modules `time` and `asyncio` of what waits: time goes on only while somebody sleeps, and
    `meanwhile` is called then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


def _selected(obj: Object, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(key) == value if value else key in labels for key, value in _terms(selector))


def _terms(selector: str) -> Iterator[tuple[str, str]]:
    for term in filter(None, selector.split(",")):
        key, _, value = term.partition("=")
        yield key, value


def _merged(before: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    made = copy.deepcopy(before) if isinstance(before, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), value)
    return made
