"""What is seen and done on the agent's own machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Mapping

from umbel_operator import logs
from umbel_operator.agent.backends.local import actions
from umbel_operator.agent.backends.local.directory import LOG, Kept, StateDirectory, bound_log
from umbel_operator.agent.backends.local.records import Owner
from umbel_operator.agent.backends.local.trouble import told
from umbel_operator.agent.backends.process import keeper
from umbel_operator.agent.backends.process.holding import ProcessHolding, Signal, Start
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Plan
from umbel_operator.agent.site import Site

POLL_SECONDS = 1.0


class ProcessBackend:
    """``directory`` is held by this agent. What it has started outlives it."""

    name = "process"

    def __init__(self, directory: StateDirectory, surroundings: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._surroundings = os.environ if surroundings is None else surroundings
        self._children: list[subprocess.Popen[bytes]] = []

    async def observe(self, name: str, client: FederatedClient | None, site: Site) -> ProcessHolding:
        return await asyncio.to_thread(self._observe, name, client, site)

    async def execute(self, plan: Plan) -> None:
        for action in plan.actions:
            await asyncio.to_thread(self._do, action)

    async def known(self) -> set[str]:
        found = await asyncio.to_thread(self._all)
        return {kept.owner.client for kept in found if not kept.owner.retained}

    async def watch(self, changed: Callable[[str], None]) -> None:
        before: dict[str, object] = {}
        while True:
            now = await asyncio.to_thread(self._signs)
            for name in now.keys() | before.keys():
                if now.get(name) != before.get(name):
                    changed(name)
            before = now
            await asyncio.sleep(POLL_SECONDS)

    # ---- what runs in threads

    def _observe(self, name: str, client: FederatedClient | None, site: Site) -> ProcessHolding:
        with told():
            folders = self._directory.of(name)
            sights = {k.folder: keeper.look(k.folder, k.attempt.token) for k in folders if k.attempt is not None}
        home = self._directory.folder(Owner.of(client)) if client is not None else None
        return ProcessHolding(client, site, folders, sights, home, self._surroundings, time.time())

    def _all(self) -> list[Kept]:
        with told():
            return self._directory.all()

    def _signs(self) -> dict[str, object]:
        """Of each client what changes when something happens to it."""
        self._children = [child for child in self._children if child.poll() is None]
        found: dict[str, object] = {}
        for kept in self._all():
            with told():
                bound_log(kept.folder / LOG)
                alive = keeper.glance(kept.folder, kept.attempt.token) if kept.attempt is not None else None
            found[kept.owner.client] = (found.get(kept.owner.client), kept.report, kept.attempt, alive)
        return found

    def _do(self, action: object) -> None:
        with told():
            match action:
                case Start(folder, attempt, command, environment):
                    keeper.prepare(folder)
                    actions.note(folder, attempt)
                    self._children.append(keeper.start(folder, attempt.token, command, environment))
                    logs.info("started a client", name=folder.name)
                case Signal(folder, token, number):
                    keeper.end(folder, token, number)
                    logs.info("a client is told to end", name=folder.name, reason=number.name)
                case _:
                    actions.do(action)
