"""What the join service does at the API server: reads invitations, registers keys, has tokens made, tells of misuse."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any

import yaml

from umbel_operator import joining, names, silo_access
from umbel_operator.conditions import Condition, find, merge, timestamp
from umbel_operator.hub.join import decisions
from umbel_operator.hub.join.decisions import Granted, Refused
from umbel_operator.hub.observed import Object
from umbel_operator.kube import SECRET, SILO, ApiError, Kube

MANAGER = "umbel-join"
JOINED, REUSED = "Joined", "TokenReused"


class Grants:
    """``api_url``: by which silos reach the hub's API. Every method raises ApiError."""

    def __init__(self, kube: Kube, api_url: str) -> None:
        self._kube = kube
        self._api_url = api_url

    async def join(self, silo: str, token: str, key: str) -> Granted | Refused:
        """Of two that use one token at once, one writes first, and the other sees that it was used."""
        while True:
            secret = await self._secret(silo)
            answer = decisions.join(decisions.invitation(secret), token, key, time.time())
            if isinstance(answer, Refused):
                if answer.reason == joining.TOKEN_USED:
                    await self._tell_reuse(silo)
                return answer
            if answer.register and secret is not None and not await self._register(silo, secret, key):
                continue
            joined = Condition(JOINED, "True", "AgentRegistered", "its agent has registered its key")
            await self._tell(silo, joined, fresh=answer.register)
            return answer

    async def renew(self, silo: str, key: str) -> Granted | Refused:
        found = await self._kube.get(SILO, silo)
        return decisions.renew(found, decisions.invitation(await self._secret(silo)), key)

    async def kubeconfig(self, silo: str) -> str:
        """With a new token of 24 h for the silo's account."""
        token = await silo_access.request_token(self._kube, names.silo_namespace(silo))
        reach = self._kube.access
        config = silo_access.kubeconfig(silo, self._api_url or reach.server, reach.authorities, token)
        return str(yaml.safe_dump(config, sort_keys=False))

    async def _secret(self, silo: str) -> Object | None:
        return await self._kube.get(SECRET, decisions.SECRET, names.silo_namespace(silo))

    async def _register(self, silo: str, secret: Object, key: str) -> bool:
        """False: somebody has written or deleted the Secret since it was read."""
        body = {
            "metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]},
            "data": {decisions.KEY: b64encode(key.encode()).decode()},
        }
        try:
            written = await self._kube.patch(SECRET, decisions.SECRET, names.silo_namespace(silo), body)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return written is not None

    async def _tell(self, silo: str, condition: Condition, *, fresh: bool = False) -> None:
        """In the Silo's status, beside what others say there. ``fresh``: a new invitation was used; what was said of
        the one before is over."""
        found = await self._kube.get(SILO, silo)
        if found is None:
            return
        before = (found.get("status") or {}).get("conditions") or []
        kept = {c.type: c for c in (Condition(*_said(before, t)) for t in (JOINED, REUSED) if find(before, t))}
        if fresh and REUSED in kept:
            kept[REUSED] = Condition(REUSED, "False", "InvitedAnew", "the silo has joined by another invitation since")
        now = {**kept, condition.type: condition}
        merged = merge(before, now.values(), found["metadata"].get("generation", 0), time.time())
        if all(find(before, entry["type"]) == entry for entry in merged):
            return
        body = {"apiVersion": SILO.api_version, "kind": SILO.kind, "metadata": {"name": silo}}
        await self._kube.apply_status({**body, "status": {"conditions": merged}}, manager=MANAGER)

    async def _tell_reuse(self, silo: str) -> None:
        message = "a token that another agent had used was used again: the bundle may be in the wrong hands"
        await self._tell(silo, Condition(REUSED, "True", "UsedTokenPresented", message))
        found = await self._kube.get(SILO, silo)
        if found is None:
            return
        now = time.time()
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{silo}.token-reused-{int(now)}", "namespace": "default"},
            "involvedObject": {
                "apiVersion": SILO.api_version,
                "kind": SILO.kind,
                "name": silo,
                "uid": found["metadata"]["uid"],
            },
            "type": "Warning",
            "reason": "UsedTokenPresented",
            "message": message,
            "source": {"component": MANAGER},
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }
        try:
            await self._kube.create(event)
        except ApiError as error:
            if error.status != 409:  # told within this second
                raise


def _said(conditions: Any, type_: str) -> tuple[Any, ...]:
    entry = find(conditions, type_)
    return type_, entry["status"], entry["reason"], entry["message"]
