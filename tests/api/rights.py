"""What roles grant, held against what the API server's audit log says was asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Right = tuple[str, str, str, str]  # API group, resource with its subresource, verb, name; a granted one's: "" for any
FIXED = {"umbel-agent", "umbel-operator", "umbel-ca", "umbel-join"}  # names that are the same in every hub


def granted(rules: Iterable[dict[str, Any]]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield from ((group, resource, verb, name) for name in rule.get("resourceNames", ("",)))


def used(calls: Iterable[dict[str, Any]]) -> set[Right]:
    found = set()
    for call in calls:
        ref = call.get("objectRef") or {}
        resource = "/".join(part for part in (ref.get("resource", ""), ref.get("subresource", "")) if part)
        verbs = [call["verb"]]
        if verbs == ["patch"] and call["responseStatus"]["code"] == 201:
            verbs.append("create")  # an apply that makes the object needs both
        found |= {(ref.get("apiGroup", ""), resource, verb, ref.get("name", "")) for verb in verbs}
    return found


def refused(calls: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{c['verb']} {c['requestURI']}" for c in calls if c["responseStatus"]["code"] == 403]


def unused(granted: Iterable[Right], used: set[Right]) -> list[Right]:
    return sorted(right for right in granted if not _names(right, used))


def too_wide(granted: Iterable[Right], used: set[Right]) -> list[Right]:
    """Granted for any name, and used for one alone that is known beforehand. A list has no name, and an object that is
    made has none yet."""
    by_name = (right for right in granted if not right[3] and (right[2] != "create" or "/" in right[1]))
    return sorted(right for right in by_name if (names := _names(right, used)) and names <= FIXED)


def _names(right: Right, used: set[Right]) -> set[str]:
    return {one[3] for one in used if one[:3] == right[:3] and right[3] in ("", one[3])}
