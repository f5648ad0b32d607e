"""What may be done in the silo's cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from umbel_operator.agent.plan import Object


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of ``obj``."""

    obj: Object


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Create this Secret with a new key in it, unless there is one."""

    secret: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """``uid``: this very object, not one made since under its name."""

    kind: str
    name: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """Set labels of an object, or remove those that are None."""

    kind: str
    name: str
    labels: Mapping[str, str | None]
