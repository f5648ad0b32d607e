"""The access of an agent that has joined: renewed by the join service, ended by it too."""

from __future__ import annotations

import time

from umbel_operator import kube, logs
from umbel_operator.agent import join_client
from umbel_operator.agent.credentials import HubCredentials
from umbel_operator.agent.join import Membership
from umbel_operator.agent.join_store import Store


class JoinedTokens:
    """``credentials``: where the agent's connection reads its kubeconfig."""

    refused = "the hub does not accept this silo's token; its join service is asked"
    asks_when_refused = True

    def __init__(self, membership: Membership, store: Store, credentials: HubCredentials) -> None:
        self._membership, self._store, self._credentials = membership, store, credentials
        credentials.adopt(membership.kubeconfig)

    async def renew(self, hub: kube.Kube, namespace: str) -> None:
        """By the registered key, whether the token and the certificate have ended or not. Raises JoinError, and
        ApiError of the silo's own cluster."""
        self._membership = await join_client.renew(self._membership, time.time())
        self._credentials.adopt(self._membership.kubeconfig)
        await self._store.save(self._membership)
        logs.info("the hub gave a new token")

    async def leave(self) -> None:
        """What could be used at the hub is thrown away."""
        await self._store.save(self._membership.left())
