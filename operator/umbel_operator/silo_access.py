"""A silo at the hub: its Silo, its namespace, and what its agent may do there. Nothing of it reaches beyond."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from umbel_operator import names

Object = dict[str, Any]
LABELS = {names.MANAGED_BY: "umbel"}

# What the agent calls at the hub, and no more: reads what is asked of it, reports, stays alive, renews its token.
RULES: list[Object] = [
    {"apiGroups": ["umbel.dev"], "resources": ["federatedclients"], "verbs": ["list", "watch"]},
    {"apiGroups": ["umbel.dev"], "resources": ["federatedclients/status"], "verbs": ["patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [names.AGENT],
        "verbs": ["patch"],
    },
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [names.AGENT], "verbs": ["create"]},
]


def silo(name: str) -> Object:
    return {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "metadata": {"name": name}, "spec": {}}


def namespace(name: str, uid: str) -> Object:
    """Goes when the Silo goes, with everything in it."""
    owner = {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "name": name, "uid": uid}
    labels = {**LABELS, names.SILO: name, "pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": names.silo_namespace(name), "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def agent_access(name: str) -> list[Object]:
    metadata = {"name": names.AGENT, "namespace": names.silo_namespace(name), "labels": LABELS}
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": names.AGENT, "namespace": names.silo_namespace(name)}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": RULES},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": names.AGENT},
            "subjects": [subject],
        },
    ]


def kubeconfig(name: str, server: str, authorities: str | None, token: str) -> Object:
    """What the silo's administrator is given."""
    cluster: Object = {"server": server}
    if authorities:
        cluster["certificate-authority-data"] = b64encode(authorities.encode()).decode()
    context = {"cluster": "hub", "user": names.AGENT, "namespace": names.silo_namespace(name)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": names.AGENT, "user": {"token": token}}],
        "contexts": [{"name": "hub", "context": context}],
        "current-context": "hub",
    }
