"""What every object of a job has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umbel.job import FederatedJob
from umbel_operator import names

Object = dict[str, Any]
SERVER = "server"  # component label of the server's pod


@dataclass(frozen=True, slots=True)
class Identity:
    """The job as an object of the API."""

    name: str
    namespace: str
    uid: str

    @property
    def labels(self) -> Mapping[str, str]:
        return {
            names.MANAGED_BY: "umbel",
            names.JOB: self.name,
            names.JOB_NAMESPACE: self.namespace,
            names.JOB_UID: self.uid,
        }

    @property
    def owner(self) -> Object:
        return {
            "apiVersion": "umbel.dev/v1alpha1",
            "kind": "FederatedJob",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """Of the server's pod: what its Services, policies and StatefulSet select by."""
        return {names.JOB_UID: self.uid, names.COMPONENT: SERVER}


def meta(job: Identity, name: str, *, owned: bool = True, **more: Any) -> Object:
    metadata: Object = {"name": name, "namespace": job.namespace, "labels": dict(job.labels), **more}
    if owned:
        metadata["ownerReferences"] = [job.owner]
    return metadata


def resolved_manifest(job: FederatedJob) -> str:
    """The manifest that the server reads: every default in it, nothing of the API's own bookkeeping."""
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    metadata = {"name": job.metadata.name, "namespace": job.metadata.namespace}
    body = {"apiVersion": job.api_version, "kind": job.kind, "metadata": metadata, "spec": spec}
    return json.dumps(body, indent=1, sort_keys=True) + "\n"
