"""What is kept of a live object between two passes: what a pass looks at, and digests of the rest. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from sys import intern
from typing import Any

from umbel_operator import names
from umbel_operator.digest import CONTENT, STORED, WHOLE, Applied, stored
from umbel_operator.hub.observed import Key, Object, Observed, key, with_written

META = (
    *("name", "namespace", "uid", "resourceVersion"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
)
PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Service": {"spec": ("clusterIP", "ports"), "status": ("loadBalancer",)},
    "Pod": {"spec": ("nodeName",), "status": ("containerStatuses", "conditions")},
    "ConfigMap": {"data": ("job.json",)},
    "Secret": {"data": ("tls.crt", "tls.key", "ca.crt")},
    "FederatedClient": {"spec": ("silo", "certificate"), "status": ("certificateRequest", "conditions")},
}


def kept(live: Object, compare: bool = False) -> dict[str, Any]:
    """``compare``: with all its content, for a pass to look at."""
    meta = live["metadata"]
    found: dict[str, Any] = {"apiVersion": live["apiVersion"], "kind": live["kind"], STORED: stored(live)}
    found["metadata"] = {name: meta[name] for name in META if name in meta}
    if (said := (meta.get("annotations") or {}).get(names.DIGEST)) is not None:
        found["metadata"]["annotations"] = {names.DIGEST: said}
    for part, wanted in PARTS.get(live["kind"], {}).items():
        whole = live.get(part) or {}
        found[part] = {name: whole[name] for name in wanted if name in whole}
    if live["kind"] == "FederatedClient" and "conditions" in found["status"]:
        found["status"]["conditions"] = [_condition(entry) for entry in found["status"]["conditions"]]
    if compare:
        found[WHOLE] = {part: live[part] for part in CONTENT if part in live}
    return found


def compared(seen: Observed, settled: Collection[Key], applied: dict[Key, Applied]) -> Observed:
    """After a pass that found ``settled`` as they should be: they count as ``applied`` by this process, and their
    content is not kept."""
    both = [*seen.objects.values(), *seen.clients.values()]
    found = [live for live in both if WHOLE in live and key(live) in settled]
    for live in found:
        applied[key(live)] = Applied(live["metadata"]["annotations"][names.DIGEST], stored(live))
    return with_written(seen, map(kept, found)) if found else seen


def packed(clients: Mapping[str, Object]) -> bytes:
    """Of many jobs with many clients these are most of what is kept; a tenth of it as text."""
    return zlib.compress(json.dumps(clients).encode(), 1)


def unpacked(text: bytes) -> dict[str, Object]:
    return dict(json.loads(zlib.decompress(text)))


def version(obj: Object) -> int:
    """Resource versions are comparable numbers (https://kubernetes.io/docs/reference/using-api/api-concepts); 0: not
    known."""
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdecimal() else 0


def _condition(entry: Mapping[str, Any]) -> dict[str, str]:
    """There may be thousands, of few kinds."""
    return {name: intern(str(entry.get(name, ""))) for name in ("type", "status", "reason")}
