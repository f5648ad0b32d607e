"""A silo at the hub: its Silo, its namespace, and what its agent may do there. Nothing of it reaches beyond."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from umbel_operator import names
from umbel_operator.kube import SERVICE_ACCOUNT, Kube

Object = dict[str, Any]
LABELS = {names.MANAGED_BY: "umbel"}

TOKEN_SECONDS = 86_400

# What the agent calls at the hub, and no more: reads what is asked of it, reports, stays alive.
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
]
# One that was added by hand has no join service to renew its token.
RENEWING: Object = {
    "apiGroups": [""],
    "resources": ["serviceaccounts/token"],
    "resourceNames": [names.AGENT],
    "verbs": ["create"],
}


def silo(name: str) -> Object:
    return {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "metadata": {"name": name}, "spec": {}}


def namespace(name: str, uid: str) -> Object:
    """Goes when the Silo goes, with everything in it."""
    owner = {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "name": name, "uid": uid}
    labels = {**LABELS, names.SILO: name, "pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": names.silo_namespace(name), "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def agent_access(name: str, *, renews_itself: bool) -> list[Object]:
    metadata = {"name": names.AGENT, "namespace": names.silo_namespace(name), "labels": LABELS}
    group = "rbac.authorization.k8s.io"
    rules = [*RULES, RENEWING] if renews_itself else RULES
    subject = {"kind": "ServiceAccount", "name": names.AGENT, "namespace": names.silo_namespace(name)}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": names.AGENT},
            "subjects": [subject],
        },
    ]


async def make(kube: Kube, name: str, *, manager: str, renews_itself: bool) -> Object:
    """The Silo, with all that its agent needs at the hub; what is there stays. Raises ApiError."""
    made = await kube.apply(silo(name), manager=manager)
    await kube.apply(namespace(name, made["metadata"]["uid"]), manager=manager)
    for obj in agent_access(name, renews_itself=renews_itself):
        await kube.apply(obj, manager=manager)
    return made


async def request_token(kube: Kube, namespace: str) -> str:
    """Of the agent's account in a silo's namespace, for 24 h. Raises ApiError."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS},
    }
    path = SERVICE_ACCOUNT.path(namespace, names.AGENT) + "/token"
    return str((await kube.request("POST", path, body=request))["status"]["token"])


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
