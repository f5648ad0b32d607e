"""What a job asks of a silo: that, and nothing else, is what its administrator approves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from umbel_operator.agent.federatedclient import FederatedClient


@dataclass(frozen=True, slots=True)
class Request:
    """``name``: of the FederatedClient. Whatever decides what runs, on what, with how much, is in here."""

    name: str
    namespace: str
    job: str
    uid: str
    trust_domain: str
    image: str
    client: str
    dataset: str
    deadline: int
    resources: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it: the approval of one is none of another."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def request_of(client: FederatedClient) -> Request:
    return Request(
        client.name,
        client.job.namespace,
        client.job.name,
        client.job.uid,
        client.trust_domain,
        client.image,
        client.client,
        client.dataset,
        client.deadline,
        client.resources,
        client.privacy,
    )


def requests_text(requests: Mapping[str, Request]) -> str:
    return json.dumps([asdict(requests[name]) for name in sorted(requests)], indent=1)


def read_requests(text: str) -> dict[str, Request]:
    """Raises ValueError for what no agent of this version wrote."""
    try:
        found = [Request(**entry) for entry in json.loads(text or "[]")]
    except TypeError as error:
        raise ValueError(str(error)) from None
    return {request.name: request for request in found}
