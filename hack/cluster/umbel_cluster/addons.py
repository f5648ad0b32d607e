"""What a cluster has beside Kubernetes itself: DNS, the default StorageClass, the node's right to be proxied for."""

from __future__ import annotations

from typing import Any

from .layout import Layout
from .rest import Client
from .tools import ClusterError
from .volumes import CLASS

COREDNS = "registry.local/coredns:1"
COREFILE = """\
cluster.local:5353 in-addr.arpa:5353 {
    errors
    ready
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 5
    }
}
.:5353 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""
LABELS = {"k8s-app": "kube-dns"}
PLURALS = {
    "ServiceAccount": "api/v1/namespaces/kube-system/serviceaccounts",
    "ConfigMap": "api/v1/namespaces/kube-system/configmaps",
    "Service": "api/v1/namespaces/kube-system/services",
    "Deployment": "apis/apps/v1/namespaces/kube-system/deployments",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "StorageClass": "apis/storage.k8s.io/v1/storageclasses",
}


def add(client: Client, layout: Layout) -> None:
    for wanted in [CLASS, *_dns(layout)]:
        status, answer = client.request("POST", f"/{PLURALS[str(wanted['kind'])]}", wanted)
        if status not in (201, 409):
            raise ClusterError(f"{wanted['kind']}: {status} {answer}")


def ready(client: Client) -> bool:
    _, found = client.request("GET", f"/{PLURALS['Deployment']}/coredns")
    return bool(found and found.get("status", {}).get("availableReplicas"))


def _dns(layout: Layout) -> list[dict[str, Any]]:
    rbac = "rbac.authorization.k8s.io"
    meta = {"name": "coredns", "namespace": "kube-system", "labels": LABELS}
    reads = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    ports = [{"name": f"dns-{p.lower()}", "port": 53, "protocol": p, "targetPort": 5353} for p in ("UDP", "TCP")]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": reads},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": COREFILE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**meta, "name": "kube-dns"},
            "spec": {"clusterIP": layout.dns, "selector": LABELS, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": _dns_pod()},
            },
        },
    ]


def _dns_pod() -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS,
                "imagePullPolicy": "Never",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "ports": [{"containerPort": 5353, "protocol": protocol} for protocol in ("UDP", "TCP")],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
