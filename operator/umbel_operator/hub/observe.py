"""What a pass looks at, read from the API server and from the job's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from umbel_operator import names
from umbel_operator.conditions import find, seconds
from umbel_operator.hub.attention import Name, Need
from umbel_operator.hub.kept import kept
from umbel_operator.hub.manifests.pod import ADMIN
from umbel_operator.hub.observed import Key, Object, Observed, key
from umbel_operator.kube import (
    CONFIG_MAP,
    EARLIER_TLS_ROUTE,
    FEDERATED_CLIENT,
    GATEWAY,
    KINDS,
    NETWORK_POLICY,
    NODE,
    POD,
    PVC,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    TLS_ROUTE,
    ApiError,
    Kind,
    Kube,
)

T = TypeVar("T")


class Eyes:
    """Reads by name, which costs the API server the same however many jobs there are; keeps nothing."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def look(
        self, obj: Object, before: Observed, need: Need, known: Iterable[Name], applied: Container[Key]
    ) -> Observed:
        """``before``, with what is needed read anew. ``known``: the job's clients, by name. ``applied``: what this
        process has applied; of the rest, all is kept for a pass to compare. Raises ApiError."""
        wanted = sorted(known if need.clients is None else need.clients)
        route = await self._route(obj) if need.objects else before.route_version
        seen = await asyncio.gather(
            self._objects(obj, route, applied) if need.objects else _as_it_was(before.objects),
            self._pod(obj) if need.pod else _as_it_was((before.pod, before.pod_node_lost)),
            self._gateway(obj) if need.objects else _as_it_was(before.gateway),
            self._addresses(obj) if need.objects else _as_it_was(before.addresses),
            self._clients(obj, wanted, applied),
        )
        objects, (pod, lost), gateway, addresses, found = seen
        clients = before.clients
        if need.clients is None:
            clients = found
        elif wanted:
            read_anew = {name for _, name in wanted}
            clients = {**{name: item for name, item in clients.items() if name not in read_anew}, **found}
        return Observed(objects, pod, lost, gateway, route, clients, addresses=addresses)

    async def _objects(self, obj: Object, route: str, applied: Container[Key]) -> dict[Key, Object]:
        """Of the job, in its namespace. ``route``: as of `_route`."""
        meta = obj["metadata"]
        server, admin = names.server(meta["name"]), names.admin(meta["name"])
        wanted = [(kind, server) for kind in (SERVICE, NETWORK_POLICY, SERVICE_ACCOUNT, CONFIG_MAP, STATEFUL_SET)]
        wanted += [(SERVICE, admin), (SECRET, names.server_tls(meta["name"]))]
        wanted.append((PVC, names.model_volume(meta["name"], meta["uid"])))
        if route:
            wanted.append((KINDS[route, TLS_ROUTE.kind], server))
        own = (self._own(kind, name, meta["namespace"], meta["uid"]) for kind, name in wanted)
        found = [item for item in await asyncio.gather(*own) if item is not None]
        return {key(item): kept(item, key(item) not in applied) for item in found}

    async def _clients(self, obj: Object, wanted: Iterable[Name], applied: Container[Key]) -> dict[str, Object]:
        uid = obj["metadata"]["uid"]
        own = (self._own(FEDERATED_CLIENT, name, namespace, uid) for namespace, name in wanted)
        found = [item for item in await asyncio.gather(*own) if item is not None]
        return {item["metadata"]["name"]: kept(item, key(item) not in applied) for item in found}

    async def _pod(self, obj: Object) -> tuple[Object | None, float | None]:
        """And since when its node is silent."""
        meta = obj["metadata"]
        pod = await self._own(POD, f"{names.server(meta['name'])}-0", meta["namespace"], meta["uid"])
        return (None if pod is None else kept(pod)), await self._node_lost(pod)

    async def _own(self, kind: Kind, name: str, namespace: str, uid: str) -> Object | None:
        """None: it is not there, or not this job's."""
        found = await self._kube.get(kind, name, namespace)
        if found is None or (found["metadata"].get("labels") or {}).get(names.JOB_UID) != uid:
            return None
        return {**found, "apiVersion": kind.api_version, "kind": kind.kind}

    async def clients_left(self, obj: Object) -> Sequence[Object]:
        """The metadata of all that a job to be deleted has. Only the API server knows: the watches may not have shown
        what was made a moment ago, or, of an operator that has just started, anything. Raises ApiError."""
        mine = f"{names.JOB_UID}={obj['metadata']['uid']}"
        return await self._kube.list(FEDERATED_CLIENT, selector=mine, metadata_only=True)

    async def _node_lost(self, pod: Object | None) -> float | None:
        """Since when the node of a pod is silent."""
        if pod is None or not suspicious(pod):
            return None
        node = await self._kube.get(NODE, pod["spec"]["nodeName"])
        if node is None:
            return seconds(pod["metadata"].get("deletionTimestamp") or pod["metadata"]["creationTimestamp"])
        ready = find((node.get("status") or {}).get("conditions"), "Ready")
        return seconds(ready["lastTransitionTime"]) if ready.get("status") == "Unknown" else None

    async def _gateway(self, obj: Object) -> Object | None:
        reference = _expose(obj).get("gatewayRef")
        if not reference:
            return None
        return await self._kube.get(
            GATEWAY, reference["name"], reference.get("namespace", obj["metadata"]["namespace"])
        )

    async def _route(self, obj: Object) -> str:
        """The version of TLSRoute for a job behind a Gateway, "" for any other. The Gateway API's standard channel has
        had v1 since its release 1.5; before, there is v1alpha2, in the experimental channel."""
        if _expose(obj).get("type") != "Gateway":
            return ""
        try:
            served = await self._kube.request("GET", f"/apis/{TLS_ROUTE.api_version}")
        except ApiError as error:
            if error.status != 404:
                raise
            served = {"resources": []}
        there = any(resource["name"] == TLS_ROUTE.plural for resource in served["resources"])
        return (TLS_ROUTE if there else EARLIER_TLS_ROUTE).api_version

    async def _addresses(self, obj: Object) -> tuple[str, ...]:
        """Of the hub's ready nodes, external ones first; only for a server exposed by its nodes' ports."""
        expose = _expose(obj)
        if expose.get("type") != "NodePort" or expose.get("host"):
            return ()
        nodes = await self._kube.list(NODE)
        ready = [n for n in nodes if find(n["status"].get("conditions"), "Ready").get("status") == "True"]
        found = [a for node in ready for a in node["status"].get("addresses", ())]
        kinds = ("ExternalIP", "InternalIP")
        return tuple(a["address"] for kind in kinds for a in found if a["type"] == kind)


async def _as_it_was(value: T) -> T:
    return value


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


def suspicious(pod: Object) -> bool:
    """Whether it may be on a node that is silent."""
    ready = find((pod.get("status") or {}).get("conditions"), "Ready")
    ill = "deletionTimestamp" in pod["metadata"] or ready.get("status") != "True"
    return ill and bool(pod["spec"].get("nodeName"))
