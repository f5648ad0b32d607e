"""What a client gets: the job's resources, the site's where the job says nothing, below the site's ceilings."""

from __future__ import annotations

from collections.abc import Mapping

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.quantity import parse
from umbel_operator.agent.site import Pods


def effective(client: FederatedClient, pods: Pods) -> dict[str, dict[str, str]]:
    """Requests and limits of its container. Limits are set for whatever has a ceiling, requests never exceed them.
    Raises ValueError for a quantity that is none."""
    asked = {resource: str(value) for resource, value in (client.resources.get("requests") or {}).items()}
    limits = {resource: str(value) for resource, value in (client.resources.get("limits") or {}).items()}
    for resource, value in pods.defaults.limits.items():
        limits.setdefault(resource, _more(value, asked.get(resource)))
    for resource, value in pods.ceilings.items():
        if resource not in limits and not _extended(resource):
            limits[resource] = value
        elif resource in limits and resource not in (client.resources.get("limits") or {}):
            limits[resource] = _less(limits[resource], value)
    for resource, value in pods.defaults.requests.items():
        asked.setdefault(resource, value)
    requests = {resource: _less(value, limits.get(resource)) for resource, value in asked.items()}
    for resource in requests:
        if resource in asked and _extended(resource):  # Kubernetes wants the two equal
            limits.setdefault(resource, requests[resource])
    return {"requests": requests, "limits": limits}


def over_ceiling(client: FederatedClient, ceilings: Mapping[str, str]) -> str | None:
    """The first resource of which the job asks for more than the site allows."""
    for group in ("requests", "limits"):
        for resource, value in sorted((client.resources.get(group) or {}).items()):
            if resource in ceilings and parse(value) > parse(ceilings[resource]):
                return resource
    return None


def whole_cpus(limits: Mapping[str, str]) -> int:
    """How many threads make sense: the whole cpus of the limit, one at least."""
    return max(1, int(parse(limits["cpu"]))) if "cpu" in limits else 1


def _extended(resource: str) -> bool:
    """A device such as nvidia.com/gpu: none is given that was not asked for."""
    return "/" in resource


def _more(value: str, other: str | None) -> str:
    return value if other is None or parse(value) >= parse(other) else other


def _less(value: str, other: str | None) -> str:
    return value if other is None or parse(value) <= parse(other) else other
