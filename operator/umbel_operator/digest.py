"""Whether an object is as it was applied, known by digests: bodies are not kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel_operator.names import DIGEST

STORED = "stored"  # of an object that is not kept whole: what `stored` said of it
WHOLE = "whole"  # of such an object, as long as nobody knows whether it still is what was applied: its content
CONTENT = ("spec", "data", "type")
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
    """Whether ``live`` still is ``wanted`` (not stamped) as it was applied. ``applied``: by this process; None when an
    earlier one did, and somebody may have changed the object since."""
    if live is None:
        return False
    said = (live["metadata"].get("annotations") or {}).get(DIGEST)
    if said != digest(wanted):
        return False
    if applied is None or applied.wanted != said:
        content = live.get(WHOLE, live)
        said_of = [key for key in CONTENT if key in wanted and live.get("kind") not in FILLED_LATER]
        return all(includes(content.get(key), wanted[key]) for key in said_of)
    return applied.stored == stored(live)


def includes(live: Any, wanted: Any) -> bool:
    """Whether everything of ``wanted`` is in ``live``, which may say more: defaults, and what others manage.

    A quantity that the API server writes in another way ("1000m" as "1") counts as different: it is applied once more,
    which changes nothing.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return live is None and not wanted
        return all(includes(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list | tuple):
            return live is None and not wanted
        return len(live) == len(wanted) and all(map(includes, live, wanted))
    return bool(live == wanted) or (live is None and wanted == "")
