"""A silo's FederatedClient, in that silo's namespace at the hub."""

from __future__ import annotations

from umbel.job import FederatedJob
from umbel.job import Silo as Participant
from umbel.wire.pki import server_name
from umbel_operator import names
from umbel_operator.hub.manifests.common import Identity, Object
from umbel_operator.hub.settings import Settings


def federated_client(
    job: Identity,
    manifest: FederatedJob,
    participant: Participant,
    settings: Settings,
    *,
    desired: str,
    url: str | None,
    bundle: str,
    certificate: str | None,
) -> Object:
    spec: Object = {
        "job": {"name": job.name, "namespace": job.namespace, "uid": job.uid},
        "silo": participant.name,
        "desiredState": desired,
        "trustDomain": settings.trust_domain,
        "app": {"image": manifest.spec.app.image, "client": manifest.spec.app.client},
        "dataset": participant.dataset,
        "resources": participant.resources.model_dump(mode="json"),
        "privacy": {
            "minCohort": manifest.spec.privacy.min_cohort,
            "minExamples": manifest.spec.privacy.min_examples,
        },
        "activeDeadlineSeconds": manifest.spec.active_deadline_seconds,
        "authorities": bundle,
    }
    if url:
        spec["server"] = {"url": url, "name": server_name(job.name, job.namespace)}
    if certificate:
        spec["certificate"] = certificate
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedClient",
        "metadata": {
            "name": names.client(settings.trust_domain, job.namespace, job.name, participant.name),
            "namespace": names.silo_namespace(participant.name),
            "labels": {**job.labels, names.SILO: participant.name},
        },
        "spec": spec,
    }
