"""What the server's pod needs round it: its manifest, certificate, volume, Services, policy, account."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from umbel.job import FederatedJob
from umbel.wire.pki import server_name
from umbel_operator import names
from umbel_operator.hub.manifests import tracing
from umbel_operator.hub.manifests.common import Identity, Object, meta, resolved_manifest
from umbel_operator.hub.manifests.pod import ADMIN, FEDERATION, PLAIN
from umbel_operator.hub.observed import Tls
from umbel_operator.hub.settings import Settings

WEB = 443


def config_map(job: Identity, manifest: FederatedJob) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta(job, names.server(job.name)),
        "data": {"job.json": resolved_manifest(manifest)},
    }


def tls_secret(job: Identity, tls: Tls) -> Object:
    files = {"tls.crt": tls.certificate, "tls.key": tls.key, "ca.crt": tls.bundle}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": meta(job, names.server_tls(job.name)),
        "data": {name: b64encode(text.encode()).decode() for name, text in files.items()},
    }


def service_account(job: Identity) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": meta(job, names.server(job.name)),
        "automountServiceAccountToken": False,
    }


def volume(job: Identity, manifest: FederatedJob, model: Mapping[str, str]) -> Object:
    """Not owned by the job: it outlives it unless spec.model.retain is false, and then the operator deletes it.
    ``model``: annotations that say what lies on it."""
    checkpoint = manifest.spec.server.checkpoint
    spec: Object = {
        "accessModes": list(checkpoint.access_modes),
        "resources": {"requests": {"storage": checkpoint.size}},
    }
    if checkpoint.storage_class_name:
        spec["storageClassName"] = checkpoint.storage_class_name
    name = names.model_volume(job.name, job.uid)
    metadata = meta(job, name, owned=False, annotations=dict(model))
    metadata["labels"][names.COMPONENT] = "model"
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def service(job: Identity, manifest: FederatedJob) -> Object:
    """The one that silos reach: the port for members and nothing else."""
    kind = manifest.spec.server.expose.type
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(job, names.server(job.name)),
        "spec": {
            "type": kind if kind != "Gateway" else "ClusterIP",
            "selector": dict(job.pod_labels),
            # Clients dial again until the server listens; an endpoint held back would only make them wait longer.
            "publishNotReadyAddresses": True,
            "ports": [{"name": "grpcs", "port": FEDERATION, "targetPort": FEDERATION, "protocol": "TCP"}],
        },
    }


def admin_service(job: Identity) -> Object:
    """For the operator and for Prometheus, inside the hub's cluster only."""
    ports = (("admin", ADMIN), ("metrics", PLAIN))
    metadata = meta(job, names.admin(job.name))
    metadata["labels"][names.COMPONENT] = "metrics"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": dict(job.pod_labels),
            "publishNotReadyAddresses": True,
            "ports": [{"name": n, "port": p, "targetPort": p, "protocol": "TCP"} for n, p in ports],
        },
    }


def network_policy(job: Identity, manifest: FederatedJob, settings: Settings) -> Object:
    """Default-deny both ways. In: members from anywhere, the operator, metrics from the cluster's pods. Out: nothing,
    or the object store that the job names, and the collector of traces that the hub names."""
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
        "podSelector": {"matchLabels": dict(settings.operator_labels)},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta(job, names.server(job.name)),
        "spec": {
            "podSelector": {"matchLabels": dict(job.pod_labels)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_tcp(FEDERATION)]},
                {"ports": [_tcp(ADMIN)], "from": [operator]},
                {"ports": [_tcp(PLAIN)], "from": [{"namespaceSelector": {}}]},
            ],
            "egress": _egress(manifest, settings),
        },
    }


def _egress(manifest: FederatedJob, settings: Settings) -> list[Object]:
    """NetworkPolicies know no host names: an object store is any address at its port."""
    model = manifest.spec.model
    uris = [
        uri for uri in (model.output.uri, model.initial.uri) if uri and "://" in uri and not uri.startswith("file:")
    ]
    store = [tracing.dns(), {"ports": [_tcp(WEB)]}] if uris else []
    return store + [rule for rule in tracing.egress(settings.tracing) if rule not in store]


def _tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}


def tls_route(job: Identity, manifest: FederatedJob, version: str) -> Object | None:
    """TLS passes through the Gateway by the server's own name; None unless it is asked for."""
    gateway = manifest.spec.server.expose.gateway_ref
    if manifest.spec.server.expose.type != "Gateway" or gateway is None:
        return None
    parent: Object = {"name": gateway.name, "namespace": gateway.namespace or job.namespace}
    if gateway.section_name:
        parent["sectionName"] = gateway.section_name
    return {
        "apiVersion": version,
        "kind": "TLSRoute",
        "metadata": meta(job, names.server(job.name)),
        "spec": {
            "parentRefs": [parent],
            "hostnames": [server_name(job.name, job.namespace)],
            "rules": [{"backendRefs": [{"name": names.server(job.name), "port": FEDERATION}]}],
        },
    }
