"""Between workers and the administrator: what is asked goes to the store, what is answered comes from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from umbel_operator import logs
from umbel_operator.access import AccessError
from umbel_operator.agent.approvals.decision import Answers, read_answers
from umbel_operator.agent.approvals.request import Request, request_of, requests_text
from umbel_operator.agent.approvals.store import Documents, Store
from umbel_operator.agent.audit import Audit
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.policy import INVALID, TO_BE_ASKED, Decision
from umbel_operator.kube import ApiError
from umbel_operator.pauses import Pauses


class Desk:
    """``store`` None: nobody is asked. ``ready``: the answers have been read once; a client that was approved must not
    be stopped because they have not."""

    def __init__(self, store: Store | None, audit: Audit) -> None:
        self.answers: Answers = {}
        self.ready = asyncio.Event()
        if store is None:
            self.ready.set()
        self._store = store
        self._audit = audit
        self._requests: dict[str, Request] = {}
        self._changed = asyncio.Event()

    def heard(self, client: FederatedClient, decision: Decision) -> None:
        """What was decided of a client, whenever it was."""
        request = request_of(client)
        self._audit.decided(request, decision, self.answers.get(client.name))
        if decision.reason not in TO_BE_ASKED:
            self._withdraw(client.name)
        elif self._requests.get(client.name) != request:
            self._requests[client.name] = request
            self._changed.set()

    def not_understood(self, name: str, why: str) -> None:
        """Nobody can be asked for it."""
        self._audit.not_understood(name, Decision(INVALID, why))
        self._withdraw(name)

    def gone(self, name: str) -> None:
        self._audit.gone(name)
        self._withdraw(name)

    def _withdraw(self, name: str) -> None:
        if self._requests.pop(name, None) is not None:
            self._changed.set()

    async def listen(self, wake: Callable[[], None]) -> None:
        """For ever. Raises what the store does."""
        if self._store is None:
            await asyncio.Event().wait()
        else:
            async for _ in self._store.changes():
                self._take(await self._store.read())
                wake()

    def _take(self, found: Documents) -> None:
        try:
            self.answers = read_answers(found.answers)
        except ValueError as error:
            logs.error("the answers of the administrator cannot be read: nothing is approved", error=str(error))
            self.answers = {}
        self.ready.set()

    async def ask(self) -> None:
        """For ever: keep what is asked where the administrator looks."""
        pauses = Pauses(first=1.0, longest=30.0)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._store is None:
                continue
            try:
                await self._store.write_requests(requests_text(self._requests))
            except (OSError, ApiError, AccessError) as error:
                logs.warning("the requests for approval were not written", error=str(error))
                self._changed.set()
                await asyncio.sleep(pauses.next())
            else:
                pauses.reset()
