"""What a pass over one FederatedJob has seen. Read once, then only looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from umbel_operator.digest import Applied

Object = Mapping[str, Any]
Key = tuple[str, str, str]  # kind, namespace, name


def key(obj: Object) -> Key:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


@dataclass(frozen=True, slots=True)
class Silo:
    """A Silo as the hub knows it. ``alive``: None before its agent was ever heard."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    suspended: bool = False
    allowed_namespaces: tuple[str, ...] = ()  # empty: all
    datasets: tuple[str, ...] | None = None  # None: not reported
    alive: bool | None = None

    def admits(self, namespace: str) -> bool:
        return not self.allowed_namespaces or namespace in self.allowed_namespaces


@dataclass(frozen=True, slots=True)
class ServerSight:
    """The last answer of ``/status``, or why there is none."""

    status: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate material as the pass wants it in the server's Secret."""

    certificate: str
    key: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Observed:
    """``objects``: in the job's namespace, with the job's label. ``clients``: the job's FederatedClients, by name.
    ``certificates``: what each is to have. ``addresses``: of the hub's nodes, first the one to use. ``applied``: by
    this process. ``heard``: what the server was told by this process."""

    objects: Mapping[Key, Object] = field(default_factory=dict)
    pod: Object | None = None
    pod_node_lost: float | None = None  # Unix time since when the pod's node is silent
    gateway: Object | None = None
    route_version: str = ""  # of TLSRoute, as the API server has it
    clients: Mapping[str, Object] = field(default_factory=dict)
    silos: Mapping[str, Silo] = field(default_factory=dict)
    server: ServerSight = ServerSight()
    tls: Tls | None = None
    bundle: str = ""
    certificates: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    applied: Mapping[Key, Applied] = field(default_factory=dict)
    told: Told | None = None


def with_written(seen: Observed, written: Iterable[Object]) -> Observed:
    """``seen``, with what was applied since as the API then had it."""
    objects, clients = dict(seen.objects), dict(seen.clients)
    for live in written:
        if live["kind"] == "FederatedClient":
            clients[live["metadata"]["name"]] = live
        else:
            objects[key(live)] = live
    return replace(seen, objects=objects, clients=clients)


@dataclass(frozen=True, slots=True)
class Told:
    """What a server's process, known by its epoch, was last told. ``queued``: of the members. ``updates``, ``quorum``:
    as resolved."""

    epoch: int
    members: frozenset[str]
    total: int
    deadline: int
    updates: int
    quorum: int
    output: str
    queued: frozenset[str] = frozenset()
