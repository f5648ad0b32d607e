"""Whether a FederatedClient may run here. Only the site file decides; the hub hears a reason and no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.resources import effective, over_ceiling
from umbel_operator.agent.site import Site

ALLOWED = "PolicyAllows"
IMAGE_NOT_ALLOWED = "ImageNotAllowed"
CLIENT_NOT_ALLOWED = "ClientNotAllowed"
NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
JOB_NOT_ALLOWED = "JobNotAllowed"
UNKNOWN_DATASET = "UnknownDataset"
DATASET_NOT_ALLOWED = "DatasetNotAllowed"
OVER_CEILING = "OverCeiling"
OTHER_SILO = "OtherSilo"
INVALID = "InvalidSpec"


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason``: one of the constants above."""

    reason: str
    message: str = ""

    @property
    def allowed(self) -> bool:
        return self.reason == ALLOWED


def decide(client: FederatedClient, site: Site) -> Decision:
    """What is not allowed by name is refused."""
    policy, job = site.policy, client.job
    if client.silo != site.silo:
        return Decision(OTHER_SILO, f"it is meant for {client.silo}; this agent serves {site.silo}")
    if not _matches(job.namespace, policy.namespaces):
        return Decision(NAMESPACE_NOT_ALLOWED, "the silo's policy does not allow jobs of this namespace")
    if not _matches(job.name, policy.jobs):
        return Decision(JOB_NOT_ALLOWED, "the silo's policy does not allow a job of this name")
    if not _matches(client.image, policy.images):
        return Decision(IMAGE_NOT_ALLOWED, "the silo's policy does not allow this image")
    if not _matches(client.client, policy.clients):
        return Decision(CLIENT_NOT_ALLOWED, "the silo's policy does not allow this client module")
    return _dataset(client, site) or _resources(client, site) or Decision(ALLOWED)


def _dataset(client: FederatedClient, site: Site) -> Decision | None:
    dataset = site.datasets.get(client.dataset)
    if dataset is None:
        return Decision(UNKNOWN_DATASET, f"the silo has no data set {client.dataset}")
    if not _matches(client.job.namespace, dataset.namespaces) or not _matches(client.job.name, dataset.jobs):
        return Decision(DATASET_NOT_ALLOWED, f"the silo's policy does not allow this job to see {client.dataset}")
    return None


def _resources(client: FederatedClient, site: Site) -> Decision | None:
    try:
        over = over_ceiling(client, site.pods.ceilings)
        effective(client, site.pods)
    except ValueError as error:
        return Decision(INVALID, f"resources: {error}")
    if over is not None:
        return Decision(OVER_CEILING, f"the job asks for more {over} than the silo allows ({site.pods.ceilings[over]})")
    return None


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
