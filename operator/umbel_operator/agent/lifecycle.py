"""How far one client is: whether it is to run, and whether its final model has been kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Clocks
from umbel_operator.conditions import Condition

FINISHED = "Finished"
MODEL_KEPT = "ModelKept"
NO_MODEL = "NoModel"
NOT_YET = "NotYet"
END_SECONDS = 60.0  # as long as a server lingers until its clients have the final model


@dataclass(frozen=True, slots=True)
class Course:
    """``runs``: the client is to go on, or to be started."""

    runs: bool
    finished: Condition
    final_round: int | None
    again: float | None = None


def course(client: FederatedClient, found: int | None, clocks: Clocks, *, runs: bool) -> Course:
    """``found``: the round of the final model, as its client says. ``runs``: one is there that may still bring it.
    It goes only after the hub has heard of that: a pod that is gone cannot be asked again."""
    heard = client.status.get("finalModel")
    round_ = found if found is not None else heard["round"] if heard else None
    finished = _condition(round_)
    if client.desired == "Suspended":
        return Course(False, finished, round_)
    if client.desired == "Running":
        return Course(True, finished, round_)
    if round_ is not None:
        return Course(not heard, finished, round_, None if heard else 0.0)
    left = END_SECONDS - (clocks.now - (clocks.finished_since if clocks.finished_since is not None else clocks.now))
    if left <= 0 or not runs or client.condition(FINISHED).get("reason") == NO_MODEL:
        return Course(False, Condition(FINISHED, "False", NO_MODEL, "it was away at the end"), None)
    return Course(True, finished, None, left)


def final_of(message: str) -> int | None:
    """The round of the final model, from what a client leaves when it ends (`umbel client --pod`, `--report`)."""
    try:
        round_ = json.loads(message)["final"]
    except (ValueError, TypeError, KeyError):
        return None
    return round_ if isinstance(round_, int) and not isinstance(round_, bool) and 0 <= round_ <= 10**9 else None


def _condition(round_: int | None) -> Condition:
    if round_ is not None:
        return Condition(FINISHED, "True", MODEL_KEPT, f"the final model, of round {round_}, is in the state volume")
    return Condition(FINISHED, "False", NOT_YET, "the job has not ended")
