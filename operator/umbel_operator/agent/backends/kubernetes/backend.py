"""What is seen and done in the silo's cluster."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from umbel_operator import kube, logs
from umbel_operator.access import AccessError
from umbel_operator.agent import identity
from umbel_operator.agent.backends.base import UNREACHABLE, Trouble
from umbel_operator.agent.backends.kubernetes import manifests
from umbel_operator.agent.backends.kubernetes.actions import Apply, Delete, Label, MakeKey
from umbel_operator.agent.backends.kubernetes.holding import KubernetesHolding, Seen
from umbel_operator.agent.federatedclient import CLIENT, SILO, FederatedClient
from umbel_operator.agent.plan import Object, Plan
from umbel_operator.agent.site import Site

MANAGER = "umbel-agent"
KINDS = {kind.kind: kind for kind in (kube.DEPLOYMENT, kube.SECRET, kube.NETWORK_POLICY, kube.PVC, kube.POD)}

FORBIDDEN = "SiloForbids"
REFUSED = "SiloRefuses"

T = TypeVar("T")


class KubernetesBackend:
    """``namespace``: where everything is made. Agents may share it: each sees what is labelled with its silo."""

    name = "kubernetes"

    def __init__(self, api: kube.Kube, namespace: str, silo: str) -> None:
        self._api = api
        self._namespace = namespace
        self._silo = silo

    async def observe(self, name: str, client: FederatedClient | None, site: Site) -> KubernetesHolding:
        selector = f"{SILO}={self._silo},{CLIENT}={name}"
        kinds = (kube.DEPLOYMENT, kube.SECRET, kube.NETWORK_POLICY, kube.PVC, kube.POD)
        lists = [self._api.list(kind, self._namespace, selector=selector) for kind in kinds]
        dataset = site.datasets.get(client.dataset) if client else None
        lists.append(self._volume(dataset.volume_claim if dataset else None))
        deployments, secrets, policies, volumes, pods, named = map(tuple, await _told(_all(lists)))
        seen = Seen(deployments, secrets, policies, volumes, pods, next(iter(named), None))
        return KubernetesHolding(client, site, seen, self._namespace)

    async def _volume(self, claim: str | None) -> list[Object]:
        found = await self._api.get(kube.PVC, claim, self._namespace) if claim else None
        return [found] if found else []

    async def execute(self, plan: Plan) -> None:
        for action in plan.actions:
            await _told(self._do(action))

    async def known(self) -> set[str]:
        """A state volume that is retained, or a pod that is ending by itself, asks for nothing."""
        kinds = (kube.DEPLOYMENT, kube.SECRET, kube.NETWORK_POLICY, kube.PVC)
        lists = [self._api.list(kind, self._namespace, selector=f"{SILO}={self._silo},{CLIENT}") for kind in kinds]
        found = await _told(_all(lists))
        return {
            obj["metadata"]["labels"][CLIENT]
            for items in found
            for obj in items
            if manifests.RETAINED not in obj["metadata"]["labels"]
        }

    async def watch(self, changed: Callable[[str], None]) -> None:
        await _all([self._watch(kind, changed) for kind in (kube.DEPLOYMENT, kube.POD)])

    async def _watch(self, kind: kube.Kind, changed: Callable[[str], None]) -> None:
        async for _, obj in self._api.watch(kind, self._namespace, selector=f"{SILO}={self._silo},{CLIENT}"):
            if obj:
                name = (obj["metadata"].get("labels") or {}).get(CLIENT)
                if name:
                    changed(name)

    async def _do(self, action: object) -> None:
        match action:
            case Apply(obj):
                await self._api.apply(obj, manager=MANAGER)
                logs.info("applied", kind=obj["kind"], name=obj["metadata"]["name"])
            case MakeKey(secret):
                await self._make_key(secret)
            case Delete(kind, name, uid):
                if await self._api.delete(KINDS[kind], name, self._namespace, uid=uid):
                    logs.info("deleted", kind=kind, name=name)
            case Label(kind, name, labels):
                body: Object = {"metadata": {"labels": dict(labels)}}
                await self._api.patch(KINDS[kind], name, self._namespace, body)
                logs.info("labelled", kind=kind, name=name)

    async def _make_key(self, secret: Object) -> None:
        key = base64.b64encode(identity.new_key()).decode()
        try:
            await self._api.create({**secret, "data": {"tls.key": key}})
        except kube.ApiError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                raise
        else:
            logs.info("made a key", kind="Secret", name=secret["metadata"]["name"])


async def _told(call: Awaitable[T]) -> T:
    """The API's error in words for the hub; what the API said goes to the log here."""
    try:
        return await call
    except AccessError as error:
        logs.warning("the silo's cluster cannot be spoken to", error=str(error))
        raise Trouble(UNREACHABLE, "the agent has no access to the silo's cluster", temporary=True) from None
    except kube.ApiError as error:
        logs.warning("the silo's cluster answered with an error", status=error.status, error=error.message)
        if error.status in (401, 403):
            words = f"the silo's cluster forbids the agent what it needs to do ({error.status})"
            raise Trouble(FORBIDDEN, words, temporary=False) from None
        if error.temporary:
            words = "the silo's cluster does not answer its agent"
            raise Trouble(UNREACHABLE, words, temporary=True) from None
        words = f"the silo's cluster refuses an object ({error.status} {error.reason}); the agent's log says why"
        raise Trouble(REFUSED, words, temporary=False) from None


async def _all(calls: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Together; the first error ends them all, and is raised as it is."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
