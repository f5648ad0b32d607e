"""What whoever installs the hub decides once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where the servers of all jobs send a trace a round. ``endpoint``: http(s)://host[:port], of OTLP over HTTP.
    ``headers_secret``: name of a Secret in a job's own namespace, with the key ``headers`` (``name=value,…``); where
    it is not there, none are sent. ``namespace``, ``cidrs``: where the collector is, for the servers' NetworkPolicy;
    with neither, anywhere. ``ports``: its pods', where they are not the endpoint's."""

    endpoint: str
    headers_secret: str = ""
    namespace: str = ""
    cidrs: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """``namespace``: the operator's own; the authority's Secret and the heartbeat are there. ``operator_labels``: of
    its pod, let through to the servers' admin port. ``certificate_hours``: life of what it signs."""

    namespace: str = "umbel-system"
    trust_domain: str = "umbel.local"
    certificate_hours: float = 24.0
    operator_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/name": "umbel-operator"})
    tracing: Tracing | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """Where the join service listens; ``url``, by which silos reach it; ``api_url``, by which they reach the hub's API
    (empty: as the operator itself does)."""

    host: str
    port: int
    url: str
    api_url: str = ""
