"""What whoever installs the hub decides once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """``namespace``: the operator's own; the authority's Secret and the heartbeat are there. ``operator_labels``: of
    its pod, let through to the servers' admin port. ``certificate_hours``: life of what it signs."""

    namespace: str = "umbel-system"
    trust_domain: str = "umbel.local"
    certificate_hours: float = 24.0
    operator_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/name": "umbel-operator"})


@dataclass(frozen=True, slots=True)
class Joining:
    """Where the join service listens; ``url``, by which silos reach it; ``api_url``, by which they reach the hub's API
    (empty: as the operator itself does)."""

    host: str
    port: int
    url: str
    api_url: str = ""
