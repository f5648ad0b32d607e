"""A FederatedClient as the agent reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel_operator import names
from umbel_operator.agent import heard
from umbel_operator.agent.heard import Desired
from umbel_operator.conditions import find

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
    """Raises ValueError for one that lacks, or asks, what this version does not know."""
    found = heard.heard(obj)
    spec, server = found.spec, found.spec.server
    asked = {"requests": dict(spec.resources.requests), "limits": dict(spec.resources.limits)}
    return FederatedClient(
        name=found.metadata.name,
        namespace=found.metadata.namespace,
        generation=found.metadata.generation,
        job=Job(spec.job.name, spec.job.namespace, spec.job.uid),
        silo=spec.silo,
        desired=spec.desired_state,
        trust_domain=spec.trust_domain,
        image=spec.app.image,
        client=spec.app.client,
        dataset=spec.dataset,
        resources={group: amounts for group, amounts in asked.items() if amounts},
        privacy={"minCohort": spec.privacy.min_cohort, "minExamples": spec.privacy.min_examples},
        deadline=spec.active_deadline_seconds,
        server=Server(server.url, server.name) if server is not None else None,
        authorities=spec.authorities,
        certificate=spec.certificate,
        status=heard.status_of(obj),
    )
