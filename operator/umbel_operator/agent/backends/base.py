"""What the agent asks of a place that runs clients."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import Holding
from umbel_operator.agent.plan import Plan
from umbel_operator.agent.site import Site

UNREACHABLE = "SiloUnreachable"
TROUBLE_SECONDS = 20.0


class Trouble(Exception):
    """A backend that could not do as it was told. ``reason``: a constant for the hub. ``message``: for the hub too,
    so nothing of the silo's inside; the cause goes to the agent's log. ``patience``: seconds for which it may pass by
    itself, unsaid."""

    def __init__(self, reason: str, message: str, *, temporary: bool, patience: float = TROUBLE_SECONDS) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message
        self.patience = patience if temporary else 0.0


class Backend(Protocol):
    """Every method raises Trouble. What starts and stops clients is decided of a Holding, in `reconcile`, and done by
    `execute`. Adoption needs no verb: `observe` finds what an earlier agent has started."""

    name: str

    async def observe(self, name: str, client: FederatedClient | None, site: Site) -> Holding:
        """What is there of the client called ``name``, whoever started it; ``client``: None when it is gone."""
        ...

    async def execute(self, plan: Plan) -> None:
        """Do its actions, in order."""
        ...

    async def known(self) -> Collection[str]:
        """The clients of which anything is left here that is not meant to stay."""
        ...

    async def watch(self, changed: Callable[[str], None]) -> None:
        """For ever: say which client something happened to."""
        ...
