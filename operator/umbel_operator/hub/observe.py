"""What a pass looks at, read from the API server and from the job's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from umbel_operator import names
from umbel_operator.conditions import find, seconds
from umbel_operator.hub.manifests.common import SERVER
from umbel_operator.hub.manifests.pod import ADMIN
from umbel_operator.hub.observed import Key, Object, key
from umbel_operator.kube import (
    CONFIG_MAP,
    FEDERATED_CLIENT,
    GATEWAY,
    NETWORK_POLICY,
    NODE,
    POD,
    PVC,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    TLS_ROUTE,
    Kube,
)

KINDS = (SERVICE, NETWORK_POLICY, SERVICE_ACCOUNT, CONFIG_MAP, PVC, STATEFUL_SET)


class Eyes:
    """Reads; keeps nothing."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def objects(self, obj: Object) -> dict[Key, Object]:
        """Of the job, in its namespace. Raises ApiError."""
        namespace, selector = obj["metadata"]["namespace"], f"{names.JOB_UID}={obj['metadata']['uid']}"
        kinds = list(KINDS)
        if _expose(obj).get("type") == "Gateway":
            kinds.append(TLS_ROUTE)
        lists = await asyncio.gather(*(self._kube.list(kind, namespace, selector=selector) for kind in kinds))
        found: dict[Key, Object] = {key(item): item for items in lists for item in items}
        # By name: the operator may not list Secrets.
        secret = await self._kube.get(SECRET, names.server_tls(obj["metadata"]["name"]), namespace)
        if secret is not None and (secret["metadata"].get("labels") or {}).get(names.JOB_UID) == obj["metadata"]["uid"]:
            found[key(secret)] = secret
        return found

    async def clients(self, uid: str) -> dict[str, Object]:
        found = await self._kube.list(FEDERATED_CLIENT, selector=f"{names.JOB_UID}={uid}")
        return {item["metadata"]["name"]: item for item in found}

    async def pod(self, obj: Object) -> Object | None:
        meta = obj["metadata"]
        selector = f"{names.JOB_UID}={meta['uid']},{names.COMPONENT}={SERVER}"
        pods = await self._kube.list(POD, meta["namespace"], selector=selector)
        return pods[0] if pods else None

    async def node_lost(self, pod: Object | None) -> float | None:
        """Since when the node of a pod is silent."""
        if pod is None or not pod["spec"].get("nodeName") or not _suspicious(pod):
            return None
        node = await self._kube.get(NODE, pod["spec"]["nodeName"])
        if node is None:
            return seconds(pod["metadata"].get("deletionTimestamp") or pod["metadata"]["creationTimestamp"])
        ready = find((node.get("status") or {}).get("conditions"), "Ready")
        return seconds(ready["lastTransitionTime"]) if ready.get("status") == "Unknown" else None

    async def gateway(self, obj: Object) -> Object | None:
        reference = _expose(obj).get("gatewayRef")
        if not reference:
            return None
        return await self._kube.get(
            GATEWAY, reference["name"], reference.get("namespace", obj["metadata"]["namespace"])
        )

    async def addresses(self, obj: Object) -> tuple[str, ...]:
        """Of the hub's ready nodes, external ones first; only for a server exposed by its nodes' ports."""
        expose = _expose(obj)
        if expose.get("type") != "NodePort" or expose.get("host"):
            return ()
        nodes = await self._kube.list(NODE)
        ready = [n for n in nodes if find(n["status"].get("conditions"), "Ready").get("status") == "True"]
        found = [a for node in ready for a in node["status"].get("addresses", ())]
        kinds = ("ExternalIP", "InternalIP")
        return tuple(a["address"] for kind in kinds for a in found if a["type"] == kind)


def admin_address(objects: Mapping[Key, Object], obj: Object) -> str | None:
    """Of the server's admin port inside the hub's cluster; None until its Service has an address."""
    meta = obj["metadata"]
    live = objects.get(("Service", meta["namespace"], names.admin(meta["name"])))
    host = (live or {}).get("spec", {}).get("clusterIP")
    if not host or host == "None":
        return None
    return f"[{host}]:{ADMIN}" if ":" in host else f"{host}:{ADMIN}"


def _expose(obj: Object) -> Mapping[str, Any]:
    return (obj["spec"].get("server") or {}).get("expose") or {}


def _suspicious(pod: Object) -> bool:
    ready = find((pod.get("status") or {}).get("conditions"), "Ready")
    return "deletionTimestamp" in pod["metadata"] or ready.get("status") != "True"
