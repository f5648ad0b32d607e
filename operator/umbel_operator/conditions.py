"""Conditions as Kubernetes means them: a list-map keyed by type."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

MESSAGE_CHARACTERS = 1024  # as in the CustomResourceDefinitions

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What is the case now; since when, `merge` finds out."""

    type: str
    status: Status
    reason: str
    message: str = ""


def timestamp(now: float) -> str:
    """Unix time as the Kubernetes API writes it."""
    return datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """The reverse. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()


def merge(
    before: Iterable[Mapping[str, Any]], conditions: Iterable[Condition], generation: int, now: float
) -> list[dict[str, Any]]:
    """The list to write: a time of transition stays while the status does."""
    old = {entry["type"]: entry for entry in before}
    merged = []
    for condition in conditions:
        was = old.get(condition.type, {})
        same = was.get("status") == condition.status and was.get("lastTransitionTime")
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": shortened(condition.message),
                "observedGeneration": generation,
                "lastTransitionTime": was["lastTransitionTime"] if same else timestamp(now),
            }
        )
    return merged


def find(conditions: Iterable[Mapping[str, Any]] | None, type_: str) -> Mapping[str, Any]:
    """The condition of that type; empty when there is none."""
    return next((entry for entry in conditions or () if entry.get("type") == type_), {})


def is_true(conditions: Iterable[Mapping[str, Any]] | None, type_: str) -> bool:
    return find(conditions, type_).get("status") == "True"


def shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"
