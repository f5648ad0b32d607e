"""Whether a FederatedClient may run here. Only the silo decides, by its site file and its administrator; the hub hears
a reason and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from umbel_operator.agent.allocation import over_in_all
from umbel_operator.agent.approvals.decision import Answers, standing
from umbel_operator.agent.approvals.request import request_of
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.resources import effective, over_ceiling
from umbel_operator.agent.site import Site

ALLOWED = "PolicyAllows"
IMAGE_NOT_ALLOWED = "ImageNotAllowed"
IMAGE_NOT_PINNED = "ImageNotPinned"
CLIENT_NOT_ALLOWED = "ClientNotAllowed"
NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
JOB_NOT_ALLOWED = "JobNotAllowed"
UNKNOWN_DATASET = "UnknownDataset"
DATASET_NOT_ALLOWED = "DatasetNotAllowed"
OVER_CEILING = "OverCeiling"
TOO_LONG = "TooLong"
TIME_USED_UP = "TimeUsedUp"
PRIVACY_TOO_WEAK = "PrivacyTooWeak"
OTHER_SILO = "OtherSilo"
INVALID = "InvalidSpec"
APPROVAL_PENDING = "ApprovalPending"
APPROVAL_OUTDATED = "ApprovalOutdated"
DENIED = "Denied"

# All that the hub hears beside the reason: nothing that the site file, or the administrator, says.
WORDS = {
    ALLOWED: "the silo's policy allows it",
    IMAGE_NOT_ALLOWED: "the silo's policy does not allow this image",
    IMAGE_NOT_PINNED: "the silo runs only images that are named by digest",
    CLIENT_NOT_ALLOWED: "the silo's policy does not allow this client module",
    NAMESPACE_NOT_ALLOWED: "the silo's policy does not allow jobs of this namespace",
    JOB_NOT_ALLOWED: "the silo's policy does not allow a job of this name",
    UNKNOWN_DATASET: "the silo has no data set of this name",
    DATASET_NOT_ALLOWED: "the silo's policy does not allow this job to see this data set",
    OVER_CEILING: "the job asks for more than the silo gives one client",
    TOO_LONG: "the job may last longer than the silo's policy allows (spec.activeDeadlineSeconds)",
    TIME_USED_UP: "the client has had all the time that the silo's policy gives one job",
    PRIVACY_TOO_WEAK: "the silo's policy asks for stronger spec.privacy",
    OTHER_SILO: "it is meant for another silo than this agent's",
    INVALID: "it has a quantity that is none",
    APPROVAL_PENDING: "the silo's administrator has not approved it yet",
    APPROVAL_OUTDATED: "the job was changed after the silo's administrator had approved it",
    DENIED: "the silo's administrator denied it",
}
TO_BE_ASKED = (ALLOWED, APPROVAL_PENDING, APPROVAL_OUTDATED, DENIED)
_STANDINGS = {"Denied": DENIED, "Changed": APPROVAL_OUTDATED, "Waiting": APPROVAL_PENDING}


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason``: one of the constants above. ``detail``: for the silo's own eyes. ``again``: seconds after which it
    may be another; two that differ in nothing else are the same."""

    reason: str
    detail: str = ""
    again: float | None = field(default=None, compare=False)

    @property
    def allowed(self) -> bool:
        return self.reason == ALLOWED

    @property
    def message(self) -> str:
        """For the hub."""
        return WORDS[self.reason]


def decide(client: FederatedClient, site: Site, answers: Answers) -> Decision:
    """What is not allowed by name is refused; what is, has to be approved too, unless the policy says Auto."""
    policy, job = site.policy, client.job
    if client.silo != site.silo:
        return Decision(OTHER_SILO, f"{client.silo} is not {site.silo}")
    for reason, text, patterns in (
        (NAMESPACE_NOT_ALLOWED, job.namespace, policy.namespaces),
        (JOB_NOT_ALLOWED, job.name, policy.jobs),
        (IMAGE_NOT_ALLOWED, client.image, policy.images),
        (CLIENT_NOT_ALLOWED, client.client, policy.clients),
    ):
        if not _matches(text, patterns):
            return Decision(reason, f"{text} is none of {', '.join(patterns) or 'nothing'}")
    if policy.require_digest and not _PINNED.search(client.image):
        return Decision(IMAGE_NOT_PINNED, f"{client.image} may be another image tomorrow")
    return (
        _dataset(client, site) or _resources(client, site) or _demands(client, site) or _approval(client, site, answers)
    )


_PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")


def _dataset(client: FederatedClient, site: Site) -> Decision | None:
    dataset = site.datasets.get(client.dataset)
    if dataset is None:
        return Decision(UNKNOWN_DATASET, client.dataset)
    if not _matches(client.job.namespace, dataset.namespaces) or not _matches(client.job.name, dataset.jobs):
        return Decision(DATASET_NOT_ALLOWED, f"{client.dataset} is not for {client.job.namespace}/{client.job.name}")
    return None


def _resources(client: FederatedClient, site: Site) -> Decision | None:
    try:
        over = over_ceiling(client, site.pods.ceilings)
        if over is None and site.slurm is not None:
            over = over_in_all(client, site.pods)
        effective(client, site.pods)
    except ValueError as error:
        return Decision(INVALID, f"resources: {error}")
    if over is not None:
        return Decision(OVER_CEILING, f"{over}: at most {site.pods.ceilings[over]}")
    return None


def _demands(client: FederatedClient, site: Site) -> Decision | None:
    policy = site.policy
    if policy.max_seconds is not None and client.deadline > policy.max_seconds:
        return Decision(TOO_LONG, f"{client.deadline} s, at most {policy.max_seconds}")
    for name, least in (("minCohort", policy.privacy.min_cohort), ("minExamples", policy.privacy.min_examples)):
        if client.privacy.get(name, 0) < least:
            return Decision(PRIVACY_TOO_WEAK, f"{name} {client.privacy.get(name, 0)}, at least {least}")
    return None


def _approval(client: FederatedClient, site: Site, answers: Answers) -> Decision:
    if site.policy.approval == "Auto":
        return Decision(ALLOWED, "the policy approves by itself")
    stands = standing(request_of(client), answers)
    if stands == "Approved":
        return Decision(ALLOWED, f"approved by {answers[client.name].by}")
    return Decision(_STANDINGS[stands])


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
