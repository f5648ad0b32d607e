"""Whether an object is as it was applied, known by digests: bodies are not kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel_operator.names import DIGEST

STORED = "stored"  # of an object that is not kept whole: what `stored` said of it
CONTENT = ("spec", "data", "stringData", "type")
# Others write into these after us, and their own defaults follow later than our apply.
FILLED_LATER = frozenset({"PersistentVolumeClaim"})


@dataclass(frozen=True, slots=True)
class Applied:
    """``wanted``: of the object that was applied. ``stored``: of its content as the API server then had it."""

    wanted: str
    stored: str


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def stamped(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and it carries the digest of what it says."""
    meta = obj["metadata"]
    annotations = {**meta.get("annotations", {}), DIGEST: digest(obj)}
    return {**obj, "metadata": {**meta, "annotations": annotations}}


def stored(live: Mapping[str, Any]) -> str:
    """Of what an object is about; its metadata and status change without us."""
    if STORED in live:
        return str(live[STORED])
    if live.get("kind") in FILLED_LATER:
        return ""
    return digest({key: live[key] for key in CONTENT if key in live})


def same(wanted: Mapping[str, Any], live: Mapping[str, Any] | None, applied: Applied | None) -> bool:
    """Whether ``live`` still is ``wanted`` (not stamped) as it was applied. ``applied`` None: this process did not
    apply it, and takes the stamp's word."""
    if live is None:
        return False
    said = (live["metadata"].get("annotations") or {}).get(DIGEST)
    if said != digest(wanted):
        return False
    return applied is None or applied.wanted != said or applied.stored == stored(live)
