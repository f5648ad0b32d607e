"""The address that silos dial, by how the job exposes its server."""

from __future__ import annotations

from umbel.job import FederatedJob
from umbel_operator import names
from umbel_operator.hub.manifests.pod import FEDERATION
from umbel_operator.hub.observed import Observed

GATEWAY_PORT = 443


def endpoint(job: FederatedJob, observed: Observed) -> tuple[str | None, str]:
    """(URL, what of others is waited for when there is none yet). Any address is dialled with the server's name."""
    expose = job.spec.server.expose
    live = observed.objects.get(("Service", job.metadata.namespace, names.server(job.metadata.name)))
    if live is None:
        return None, ""
    match expose.type:
        case "ClusterIP":
            host, port, waiting = live["spec"].get("clusterIP"), FEDERATION, "a cluster IP"
        case "NodePort":
            host = expose.host or next(iter(observed.addresses), None)
            port, waiting = _node_port(live), "a node with an address"
        case "LoadBalancer":
            entries = ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
            host = expose.host or entries[0].get("ip") or entries[0].get("hostname")
            port, waiting = FEDERATION, "the load balancer's address"
        case "Gateway":
            host, port = _gateway(job, observed)
            waiting = f"an address of Gateway {expose.gateway_ref.name if expose.gateway_ref else ''}"
    if not host or host == "None" or not port:
        return None, waiting
    return f"grpcs://[{host}]:{port}" if ":" in host else f"grpcs://{host}:{port}", ""


def _node_port(service: object) -> int:
    ports = service["spec"].get("ports") or [{}]  # type: ignore[index]
    return int(ports[0].get("nodePort") or 0)


def _gateway(job: FederatedJob, observed: Observed) -> tuple[str | None, int]:
    expose, gateway = job.spec.server.expose, observed.gateway or {}
    addresses = (gateway.get("status") or {}).get("addresses") or []
    host = expose.host or (addresses[0].get("value") if addresses else None)
    section = expose.gateway_ref.section_name if expose.gateway_ref else None
    listeners = (gateway.get("spec") or {}).get("listeners") or []
    fitting = [entry for entry in listeners if entry.get("name") == section or (not section and _passes(entry))]
    return host, int(fitting[0]["port"]) if fitting else GATEWAY_PORT


def _passes(listener: dict[str, object]) -> bool:
    tls = listener.get("tls")
    return listener.get("protocol") == "TLS" and isinstance(tls, dict) and tls.get("mode") == "Passthrough"
