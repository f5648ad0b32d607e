"""One API server, spoken to in plain dicts: get, list, watch, server-side apply, delete.

Thin on purpose: no model of any kind of object, nothing cached, nothing retried but a watch. Credentials are read
anew when the API server refuses them, and when their file has changed.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import aiohttp

from umbel_operator import access
from umbel_operator.pauses import Pauses

Object = dict[str, Any]
Objects = list[Object]  # Kube.list hides the name below

UMBEL = "umbel.dev/v1alpha1"
CALL_SECONDS = 30.0
CALLS_AT_ONCE = 32  # more would only wait at the server, and use up their time there
WATCH_SECONDS = 300  # the server ends a watch then; a connection that died unnoticed lasts no longer
WATCH_GRACE = 15.0
PAUSE_SECONDS = (0.5, 30.0)  # first and longest pause of a watch that fails
PAGE = 500
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"  # "List" is put in for a list


class Kind(NamedTuple):
    """Where objects of one kind are found."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """``namespace`` None: of the whole cluster."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{self.api_version}{inside}/{self.plural}" + (f"/{name}" if name else "")


FEDERATED_JOB = Kind(UMBEL, "FederatedJob", "federatedjobs")
FEDERATED_CLIENT = Kind(UMBEL, "FederatedClient", "federatedclients")
SILO = Kind(UMBEL, "Silo", "silos", namespaced=False)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
POD = Kind("v1", "Pod", "pods")
SECRET = Kind("v1", "Secret", "secrets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
PVC = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
EVENT = Kind("v1", "Event", "events")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
GATEWAY = Kind("gateway.networking.k8s.io/v1", "Gateway", "gateways")
TLS_ROUTE = Kind("gateway.networking.k8s.io/v1", "TLSRoute", "tlsroutes")
EARLIER_TLS_ROUTE = TLS_ROUTE._replace(api_version="gateway.networking.k8s.io/v1alpha2")

KINDS = {
    (kind.api_version, kind.kind): kind
    for kind in (
        *(FEDERATED_JOB, FEDERATED_CLIENT, SILO, NAMESPACE, POD, SECRET, CONFIG_MAP, SERVICE, SERVICE_ACCOUNT, PVC),
        *(NODE, EVENT, DEPLOYMENT, STATEFUL_SET, NETWORK_POLICY, LEASE, ROLE, ROLE_BINDING, GATEWAY),
        *(TLS_ROUTE, EARLIER_TLS_ROUTE),
    )
}


def kind_of(obj: Mapping[str, Any]) -> Kind:
    return KINDS[obj["apiVersion"], obj["kind"]]


class ApiError(Exception):
    """What the API server answered instead; ``status`` 0: it could not be reached."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status or 'unreachable'} {reason}: {message}")
        self.status, self.reason, self.message, self.retry_after = status, reason, message, retry_after

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later, with nobody changing it."""
        return self.status in (0, 401, 403, 404, 408, 409, 410, 429) or self.status >= 500


class Kube:
    """``read``: reads how to reach the server, again whenever ``changed`` says another stamp."""

    def __init__(self, read: Callable[[], access.Access], changed: Callable[[], object] = lambda: None) -> None:
        self._read = read
        self._changed = changed
        self._access: access.Access | None = None
        self._stamp: object = None
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str | None = None) -> Kube:
        """Raises AccessError for a file that is no kubeconfig."""
        access.kubeconfig(path, context)
        return cls(lambda: access.kubeconfig(path, context), lambda: _stamp(path))

    @classmethod
    def in_cluster(cls) -> Kube:
        """Raises AccessError outside a pod."""
        access.pod_account()
        return cls(access.pod_account, lambda: _stamp(access.POD_ACCOUNT / "token"))

    @property
    def access(self) -> access.Access:
        """Raises AccessError when the credentials have become unreadable."""
        stamp = self._changed()
        if self._access is None or stamp != self._stamp:
            fresh = self._read()
            if self._access is None or fresh.tls_part != self._access.tls_part:
                self._tls = fresh.tls()
            self._access, self._stamp = fresh, stamp
        return self._access

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # ---- verbs

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """None: there is no such object."""
        return await _or_none(self.request("GET", kind.path(namespace, name)))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, selector: str = "", metadata_only: bool = False
    ) -> Objects:
        accept = METADATA.format("List") if metadata_only else JSON
        return [item async for items, _ in self._pages(kind, namespace, selector, accept) for item in items]

    async def create(self, obj: Object) -> Object:
        """Raises ApiError 409 when it is there."""
        metadata = obj["metadata"]
        found = await self.request("POST", kind_of(obj).path(metadata.get("namespace")), body=obj)
        return dict(found)

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """Server-side apply, taking over fields that others own; the object as it is now."""
        return await self._apply(obj, manager, "")

    async def apply_status(self, obj: Object, *, manager: str) -> Object:
        """The same of the status subresource. Raises ApiError 404 when the object is gone."""
        return await self._apply(obj, manager, "/status")

    async def patch(self, kind: Kind, name: str, namespace: str | None, body: Object) -> Object | None:
        """A merge patch; None: there is no such object."""
        path = kind.path(namespace, name)
        return await _or_none(self.request("PATCH", path, body=body, content_type=MERGE))

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> bool:
        """Dependents go in the background. ``uid``: only this very object. False: it was not there (any more)."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self.request("DELETE", kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    async def watch(
        self, kind: Kind, namespace: str | None = None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[tuple[str, Object]]:
        """For ever: ADDED of every object, SYNCED with an empty object, then changes as they come. After a gap
        everything is listed again, and what went in the gap is DELETED. ``metadata_only``: that is all of each object
        that the server sends."""
        known: dict[tuple[str, str], Object] = {}
        accept, accept_list = (METADATA.format(""), METADATA.format("List")) if metadata_only else (JSON, JSON)
        pauses = Pauses(*PAUSE_SECONDS)
        while True:
            since = time.monotonic()
            try:
                found: set[tuple[str, str]] = set()
                version = ""
                async for items, newest in self._pages(kind, namespace, selector, accept_list):
                    version = newest
                    for item in items:
                        found.add(_key(item))
                        change = "MODIFIED" if _key(item) in known else "ADDED"
                        known[_key(item)] = {"metadata": _name(item), "kind": kind.kind}
                        yield change, item
                for key in known.keys() - found:
                    yield "DELETED", known.pop(key)
                yield "SYNCED", {}
                while True:
                    async for change, item in self._changes(kind, namespace, selector, version, accept):
                        pauses.reset()  # that a list is answered says nothing of its watch
                        version = item["metadata"]["resourceVersion"]
                        if change == "BOOKMARK":
                            continue
                        if change == "DELETED":
                            known.pop(_key(item), None)
                        else:
                            known[_key(item)] = {"metadata": _name(item), "kind": kind.kind}
                        yield change, item
                    await asyncio.sleep(pauses.after(time.monotonic() - since))
                    since = time.monotonic()
            except (ApiError, access.AccessError) as error:
                await asyncio.sleep(pauses.after(time.monotonic() - since, getattr(error, "retry_after", None) or 0.0))

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """The answer's JSON. Raises ApiError."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        for attempt in (1, 2):
            try:
                async with (
                    self._slots,
                    self._call(method, path, body, params, content_type, timeout, accept) as response,
                ):
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ApiError(0, "Unreachable", str(error) or type(error).__name__) from None
            if response.status == 401 and attempt == 1:
                self._access = None  # perhaps a token that was renewed
                continue
            if response.status >= 400:
                raise _error(response, text)
            return json.loads(text)

    def websocket(self, path: str, params: Sequence[tuple[str, str]], protocol: str) -> Any:
        """A context manager, aiohttp's."""
        reach = self.access
        headers = {"Authorization": f"Bearer {reach.token}"} if reach.token else {}
        return self._open().ws_connect(
            reach.server + path,
            params=params,
            protocols=(protocol,),
            headers=headers,
            ssl=self._tls if self._tls is not None else True,
            max_msg_size=0,
        )

    # ---- pieces

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60))
        return self._session

    async def _apply(self, obj: Object, manager: str, subresource: str) -> Object:
        metadata = obj["metadata"]
        path = kind_of(obj).path(metadata.get("namespace"), metadata["name"]) + subresource
        params = {"fieldManager": manager, "force": "true"}
        found = dict(await self.request("PATCH", path, body=obj, params=params, content_type=APPLY))
        found["metadata"].pop("managedFields", None)  # a good half of it, and read by nobody
        return found

    async def _pages(
        self, kind: Kind, namespace: str | None, selector: str, accept: str = JSON
    ) -> AsyncIterator[tuple[Objects, str]]:
        """Page by page, each with what a watch would go on from; the last one's is of the whole list."""
        params = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self.request("GET", kind.path(namespace), params=params, accept=accept)
            items = [{**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in page.get("items") or []]
            following = page["metadata"].get("continue")
            yield items, page["metadata"].get("resourceVersion", "")
            if not following:
                return
            params["continue"] = following

    async def _changes(
        self, kind: Kind, namespace: str | None, selector: str, version: str, accept: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """One watch request. Raises ApiError, 410 when ``version`` is too old."""
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        params |= {"timeoutSeconds": str(WATCH_SECONDS), **({"labelSelector": selector} if selector else {})}
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + WATCH_GRACE, sock_connect=CALL_SECONDS)
        try:
            async with self._call("GET", kind.path(namespace), None, params, JSON, timeout, accept) as response:
                if response.status == 401:
                    self._access = None
                if response.status >= 400:
                    raise _error(response, await response.text())
                async for line in _lines(response):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", str(error) or type(error).__name__) from None

    def _call(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, str] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
        accept: str,
    ) -> Any:
        reach = self.access
        headers = {"Accept": accept, "User-Agent": "umbel"}
        if reach.token:
            headers["Authorization"] = f"Bearer {reach.token}"
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), content_type
        return self._open().request(
            method,
            reach.server + path,
            params=params,
            data=data,
            headers=headers,
            timeout=timeout,
            ssl=self._tls if self._tls is not None else True,
            server_hostname=reach.server_name,
        )


async def _or_none(call: Any) -> Object | None:
    try:
        return dict(await call)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: an object may be larger than the reader's own limit for one."""
    rest = b""
    async for block in response.content.iter_any():
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            if line:
                yield line


def _error(response: aiohttp.ClientResponse, text: str) -> ApiError:
    try:
        status = json.loads(text)
        reason, message = status.get("reason") or response.reason or "", status.get("message") or ""
    except (ValueError, AttributeError):
        reason, message = response.reason or "", text[:300]
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, reason, message, float(after) if after.isdecimal() else None)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _name(obj: Object) -> Object:
    """What of an object's metadata is kept, for the day it is found to have gone."""
    kept = {key: obj["metadata"][key] for key in ("name", "namespace", "uid", "labels") if key in obj["metadata"]}
    if labels := kept.get("labels"):  # the same few, of thousands of objects
        kept["labels"] = {intern(name): intern(value) for name, value in labels.items()}
    return kept


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
