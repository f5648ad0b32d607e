"""Does what a plan wants, in order. Every step may be repeated, and finds what an earlier try did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from umbel_operator import names
from umbel_operator.conditions import shortened, timestamp
from umbel_operator.digest import Applied, digest, stored
from umbel_operator.hub.admin import Admin
from umbel_operator.hub.observed import Key, Object, Told, key
from umbel_operator.hub.plan import Announce, Apply, Delete, Plan, SetStatus, Tell
from umbel_operator.kube import FEDERATED_CLIENT, KINDS, ApiError, Kube

LAST = ("StatefulSet", "FederatedClient")
BY_NAME = {kind.kind: kind for kind in KINDS.values()}


@dataclass(slots=True)
class Memory:
    """What this process did to one job: digests, never bodies."""

    applied: dict[Key, Applied]
    told: Told | None = None


class Hands:
    """The writing side of the operator."""

    def __init__(self, kube: Kube, admin: Admin) -> None:
        self._kube = kube
        self._admin = admin

    async def execute(
        self, obj: Object, plan: Plan, memory: Memory, address: str | None, wrote: Callable[[Object], None]
    ) -> Object:
        """The job as it is afterwards. ``wrote``: called with every object as the API then has it. Raises ApiError or
        Unreachable; what was done until then is remembered."""
        meta = obj["metadata"]
        await self._apply([a.obj for a in plan.actions if isinstance(a, Apply)], memory, wrote)
        for action in plan.actions:
            match action:
                case Delete(kind, namespace, name, uid, force):
                    grace = 0 if force else None
                    await self._kube.delete(BY_NAME[kind], name, namespace, uid=uid, grace_seconds=grace)
                    memory.applied.pop((kind, namespace, name), None)
                case Tell(told):
                    if address is not None:
                        await self._admin.tell(address, meta["name"], meta["namespace"], told)
                        memory.told = told
                case Announce():
                    await self._announce(obj, action)
                case SetStatus(status):
                    obj = await self.set_status(obj, status)
        if plan.delete_job:
            await self._kube.delete(BY_NAME["FederatedJob"], meta["name"], meta["namespace"], uid=meta["uid"])
        return obj

    async def _apply(self, wanted: list[Any], memory: Memory, wrote: Callable[[Object], None]) -> None:
        """What a pod needs before the pod, each wave at once."""
        last = [obj for obj in wanted if obj["kind"] in LAST]
        for wave in ([obj for obj in wanted if obj["kind"] not in LAST], last):
            done_all = await asyncio.gather(*(self._apply_one(o, memory, wrote) for o in wave), return_exceptions=True)
            for done in done_all:
                if isinstance(done, BaseException):
                    raise done

    async def _apply_one(self, wanted: Object, memory: Memory, wrote: Callable[[Object], None]) -> None:
        try:
            live = await self._kube.apply(dict(wanted), manager=names.HUB_MANAGER)
        except ApiError as error:
            if error.status == 422 and wanted["kind"] == "FederatedClient":
                await self._make_way(wanted)
            raise
        said = wanted["metadata"]["annotations"][names.DIGEST]
        memory.applied[key(wanted)] = Applied(said, stored(live))
        wrote(live)

    async def _make_way(self, wanted: Object) -> None:
        """For a FederatedClient: one of that name is left of an earlier job, which was deleted while no hub looked. The
        pass that failed is tried again."""
        meta, uid = wanted["metadata"], wanted["spec"]["job"]["uid"]
        found = await self._kube.get(FEDERATED_CLIENT, meta["name"], meta["namespace"])
        if found is not None and found["spec"]["job"]["uid"] != uid:
            own = found["metadata"]
            await self._kube.delete(FEDERATED_CLIENT, own["name"], own["namespace"], uid=own["uid"])

    async def set_status(self, obj: Object, status: dict[str, Any]) -> Object:
        """The whole of it, as it is to be; the job as it is then."""
        meta = obj["metadata"]
        body = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            # The uid makes an apply to a new job of the same name a conflict.
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "status": status,
        }
        return await self._kube.apply_status(body, manager=names.HUB_MANAGER)

    async def _announce(self, obj: Object, event: Announce) -> None:
        """An Event named by what it says and when the status turned: a second try finds it."""
        meta, now = obj["metadata"], timestamp(time.time())
        version = (obj.get("metadata") or {}).get("resourceVersion", "")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{digest([meta['uid'], event.reason, event.message, version])}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": shortened(event.message),
            "source": {"component": names.HUB_MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._kube.create(body)
        except ApiError as error:
            # Told already, or the namespace is going away. Losing an Event must not hold up a job.
            if error.status not in (403, 404, 409):
                raise

    async def remove(self, obj: Object, clients: Iterable[Object]) -> None:
        """What of a deleted job the API server's garbage collector cannot know: other namespaces, the model volume."""
        meta = obj["metadata"]
        for client in clients:
            inner = client["metadata"]
            await self._kube.delete(FEDERATED_CLIENT, inner["name"], inner["namespace"], uid=inner["uid"])
        if not (obj["spec"].get("model") or {}).get("retain", True):
            volume = names.model_volume(meta["name"], meta["uid"])
            await self._kube.delete(BY_NAME["PersistentVolumeClaim"], volume, meta["namespace"])
