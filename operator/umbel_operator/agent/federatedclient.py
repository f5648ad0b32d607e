"""A FederatedClient as the agent reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from umbel_operator import names
from umbel_operator.conditions import find

Desired = Literal["Running", "Suspended", "Finished"]

JOB = names.JOB
JOB_NAMESPACE = names.JOB_NAMESPACE
JOB_UID = names.JOB_UID
CLIENT = "umbel.dev/client"
SILO = names.SILO
MANAGED_BY = names.MANAGED_BY


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Server:
    """``name``: the DNS name that its certificate carries, whatever ``url`` is dialled."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class FederatedClient:
    """``status``: what this agent wrote last, as the hub has it."""

    name: str
    namespace: str
    generation: int
    job: Job
    silo: str
    desired: Desired
    trust_domain: str
    image: str
    client: str
    dataset: str
    resources: Mapping[str, Mapping[str, str]]
    privacy: Mapping[str, int]
    deadline: int
    server: Server | None
    authorities: str
    certificate: str
    status: Mapping[str, Any]

    def condition(self, type_: str) -> Mapping[str, Any]:
        return find(self.status.get("conditions"), type_)

    @property
    def labels(self) -> dict[str, str]:
        """Of everything made for it in the silo."""
        return {
            MANAGED_BY: "umbel",
            JOB: self.job.name,
            JOB_NAMESPACE: self.job.namespace,
            JOB_UID: self.job.uid,
            CLIENT: self.name,
            SILO: self.silo,
        }


def read(obj: Mapping[str, Any]) -> FederatedClient:
    """Raises ValueError for one that lacks, or asks, what this version does not know. Fields that it does not know are
    a later hub's, and passed over."""
    try:
        return _read(obj)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _read(obj: Mapping[str, Any]) -> FederatedClient:
    metadata, spec = obj["metadata"], obj["spec"]
    job, server = spec["job"], spec.get("server") or {}
    return FederatedClient(
        name=metadata["name"],
        namespace=metadata["namespace"],
        generation=metadata.get("generation", 1),
        job=Job(job["name"], job["namespace"], job["uid"]),
        silo=spec["silo"],
        desired=_desired(spec.get("desiredState", "Running")),
        trust_domain=spec["trustDomain"],
        image=spec["app"].get("image") or "",
        client=spec["app"]["client"],
        dataset=spec.get("dataset") or "",
        resources=spec.get("resources") or {},
        privacy=spec.get("privacy") or {},
        deadline=spec["activeDeadlineSeconds"],
        server=Server(server["url"], server["name"]) if server.get("url") else None,
        authorities=spec.get("authorities") or "",
        certificate=spec.get("certificate") or "",
        status=obj.get("status") or {},
    )


def _desired(state: Any) -> Desired:
    for known in get_args(Desired):
        if state == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"desiredState: {state!r} is not one of {', '.join(get_args(Desired))}")
