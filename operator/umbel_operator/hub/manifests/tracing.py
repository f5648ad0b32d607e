"""What a server's pod needs to send its traces: variables, and an opening in its NetworkPolicy."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from umbel_operator.hub.manifests.common import Object
from umbel_operator.hub.settings import Tracing

HEADERS = "headers"  # key of the Secret
DNS = 53
PORTS = {"http": 80, "https": 443}


def environment(tracing: Tracing | None) -> list[Object]:
    """OpenTelemetry's own variables. What the hub wishes is no reason for a job to fail."""
    if tracing is None:
        return []
    made: list[Object] = [
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": tracing.endpoint},
        {"name": "UMBEL_TRACES", "value": "IfInstalled"},
    ]
    if tracing.headers_secret:
        secret = {"name": tracing.headers_secret, "key": HEADERS, "optional": True}
        made.append({"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": secret}})
    return made


def egress(tracing: Tracing | None) -> list[Object]:
    """To the collector, at its ports, and to the cluster's DNS if it has a name."""
    if tracing is None:
        return []
    parts = urlsplit(tracing.endpoint)
    ports = tracing.ports or (parts.port or PORTS[parts.scheme],)
    rule: Object = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    if to := list(_peers(tracing)):
        rule["to"] = to
    return [rule] if _is_address(parts.hostname or "") else [dns(), rule]


def dns() -> Object:
    return {"ports": [{"port": DNS, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def _peers(tracing: Tracing) -> Iterator[Object]:
    if tracing.namespace:
        yield {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": tracing.namespace}}}
    for cidr in tracing.cidrs:
        yield {"ipBlock": {"cidr": cidr}}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
