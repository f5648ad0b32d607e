"""The objects of one client in the silo's cluster, as plain dicts. Decides nothing, reads nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from umbel_operator import restricted
from umbel_operator.agent import eligibility
from umbel_operator.agent.federatedclient import CLIENT, FederatedClient, Server
from umbel_operator.agent.resources import effective, whole_cpus
from umbel_operator.agent.site import Egress, Site
from umbel_operator.digest import stamped

Object = dict[str, Any]

SERVER = "umbel.dev/server"
RETAINED = "umbel.dev/retained"
TLS, STATE, DATA, TMP = "/run/umbel/tls", "/state", "/data", "/tmp"
TMP_SIZE = "10Gi"
GRACE_SECONDS = 15  # nothing of a job is left 30 s after its deletion
SERVER_PORT = 8443  # of the server's pod: where a NodePort or a Service ends when both are in one cluster
DNS_PORT = 53


def secret_name(client: FederatedClient) -> str:
    return f"{client.name}-tls"


def volume_name(client: FederatedClient) -> str:
    """With the job's uid: a new job of the same name never finds the old one's state."""
    return f"{client.name}-{client.job.uid[:8]}"


def _metadata(client: FederatedClient, name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace, "labels": client.labels}


def key_secret(client: FederatedClient, namespace: str) -> Object:
    """Without the key: whoever creates it makes one."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(client, secret_name(client), namespace),
        "type": "Opaque",
    }


def certificate_secret(client: FederatedClient, namespace: str, certificate: str, authorities: str) -> Object:
    """What is added to the Secret with the key. The key is not among it, so applying this never touches it."""
    data = {"tls.crt": _base64(certificate), "ca.crt": _base64(authorities)}
    return stamped({**key_secret(client, namespace), "data": data})


def network_policy(client: FederatedClient, site: Site, namespace: str, server: Server | None) -> Object:
    """Nothing comes in. The name service, the server's port and what the site file adds go out."""
    egress: list[Object] = [{"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}]
    if server is not None:
        ports = sorted({SERVER_PORT, urlsplit(server.url).port or 443})
        egress.append({"ports": [{"protocol": "TCP", "port": port} for port in ports]})
    egress += [_egress(entry) for entry in site.network.egress]
    return stamped(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(client, client.name, namespace),
            "spec": {
                "podSelector": {"matchLabels": {CLIENT: client.name}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [],
                "egress": egress,
            },
        }
    )


def _egress(entry: Egress) -> Object:
    rule: Object = {"to": [{"ipBlock": {"cidr": entry.cidr}}]}
    if entry.ports:
        rule["ports"] = [{"protocol": "TCP", "port": port} for port in entry.ports]
    return rule


def state_volume(client: FederatedClient, site: Site, namespace: str) -> Object:
    state = site.state
    spec: Object = {"accessModes": list(state.access_modes), "resources": {"requests": {"storage": state.size}}}
    if state.storage_class_name is not None:
        spec["storageClassName"] = state.storage_class_name
    return stamped(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": _metadata(client, volume_name(client), namespace),
            "spec": spec,
        }
    )


def deployment(client: FederatedClient, site: Site, namespace: str, server: Server, replicas: int) -> Object:
    """One pod at a time, as the state volume has one writer. Nothing of the certificate is in the template: a renewal
    restarts nothing."""
    metadata = _metadata(client, client.name, namespace)
    metadata["annotations"] = {SERVER: json.dumps([server.url, server.name])}
    return stamped(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 0,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {CLIENT: client.name}},
                "template": {
                    "metadata": {
                        "labels": {**site.pods.labels, **client.labels},
                        "annotations": dict(site.pods.annotations),
                    },
                    "spec": _pod(client, site, server),
                },
            },
        }
    )


def server_of(found: Mapping[str, Any]) -> Server | None:
    """The server that a Deployment was made for."""
    try:
        url, name = json.loads(found["metadata"]["annotations"][SERVER])
    except (KeyError, TypeError, ValueError):
        return None
    return Server(url, name)


def _pod(client: FederatedClient, site: Site, server: Server) -> Object:
    pods = site.pods
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": restricted.pod(),
        "containers": [_container(client, site, server)],
        "volumes": _volumes(client, site),
    }
    if pods.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pods.image_pull_secrets]
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.tolerations:
        spec["tolerations"] = [t.model_dump(by_alias=True, exclude_none=True) for t in pods.tolerations]
    if pods.runtime_class_name is not None:
        spec["runtimeClassName"] = pods.runtime_class_name
    return spec


def _container(client: FederatedClient, site: Site, server: Server) -> Object:
    resources = effective(client, site.pods)
    mounts: list[Object] = [
        {"name": "tls", "mountPath": TLS, "readOnly": True},
        {"name": "state", "mountPath": STATE},
        {"name": "tmp", "mountPath": TMP},
    ]
    dataset = site.datasets[client.dataset]
    if dataset.volume_claim is not None:
        mount: Object = {"name": "data", "mountPath": DATA, "readOnly": True}
        mounts.append({**mount, "subPath": dataset.sub_path} if dataset.sub_path else mount)
    return {
        "name": "client",
        "image": client.image,
        "imagePullPolicy": site.pods.image_pull_policy,
        "command": ["umbel"],
        "args": _arguments(client, site, server, data=dataset.volume_claim is not None),
        "env": [{"name": name, "value": value} for name, value in _environment(site, resources["limits"]).items()],
        "resources": resources,
        # The client writes there why it ended; its log, which may hold what the user's code prints, is not taken.
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": restricted.container(),
        "volumeMounts": mounts,
    }


def _arguments(client: FederatedClient, site: Site, server: Server, *, data: bool) -> list[str]:
    options = {
        "--server": server.url,
        "--server-name": server.name,
        "--tls": TLS,
        "--client": client.client,
        "--silo": client.silo,
        "--dataset": client.dataset,
        **({"--data": DATA} if data else {}),
        "--state": STATE,
    }
    # One word each: a value that begins with a dash is still a value.
    words = [f"{option}={value}" for option, value in options.items()]
    return ["client", *words, *eligibility.arguments(site.eligibility), "--pod"]


def _environment(site: Site, limits: Mapping[str, str]) -> dict[str, str]:
    threads = str(whole_cpus(limits))
    own = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    return {**own, "HOME": TMP, **site.pods.env}


def _volumes(client: FederatedClient, site: Site) -> list[Object]:
    volumes: list[Object] = [
        {"name": "tls", "secret": {"secretName": secret_name(client), "defaultMode": 0o440}},
        {"name": "state", "persistentVolumeClaim": {"claimName": volume_name(client)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
    ]
    claim = site.datasets[client.dataset].volume_claim
    if claim is not None:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    return volumes


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
