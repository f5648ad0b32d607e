"""How long a client may run in this silo by `policy.maxSeconds`. Pure.

What a job declares of its length is the hub's word. This is the silo's own clock: it counts from the first start here,
as long as anything of the client is kept, and does not stop while it is suspended or waits for its next start.
"""

from __future__ import annotations

from dataclasses import replace

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.policy import TIME_USED_UP, Decision
from umbel_operator.agent.site import Policy


def left(policy: Policy, begun: float | None, now: float) -> float | None:
    """Seconds, at least 0; None: it is not bounded. ``begun``: None before the first start."""
    if policy.max_seconds is None:
        return None
    return max(0.0, policy.max_seconds - (now - begun if begun is not None else 0.0))


def bounded(client: FederatedClient, decision: Decision, policy: Policy, begun: float | None, now: float) -> Decision:
    """The decision, by the clock too. One whose job has ended keeps the minute that its final model may take."""
    remaining = left(policy, begun, now)
    if not decision.allowed or remaining is None or begun is None or client.desired == "Finished":
        return decision
    if remaining <= 0:
        return Decision(TIME_USED_UP, f"{policy.max_seconds} s since it first ran here")
    return replace(decision, again=remaining)
