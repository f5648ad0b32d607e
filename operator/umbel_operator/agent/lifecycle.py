"""How far one client is: whether it is to run, and whether its final model has been kept."""

from __future__ import annotations

from dataclasses import dataclass

from umbel_operator.agent.diagnosis import final_round
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Clocks, Seen
from umbel_operator.conditions import Condition

FINISHED = "Finished"
MODEL_KEPT = "ModelKept"
NO_MODEL = "NoModel"
NOT_YET = "NotYet"
END_SECONDS = 60.0  # as long as a server lingers until its clients have the final model


@dataclass(frozen=True, slots=True)
class Course:
    """``replicas`` of a Deployment that exists, or is made if that is more than 0."""

    replicas: int
    finished: Condition
    final_round: int | None
    again: float | None = None


def course(client: FederatedClient, seen: Seen, clocks: Clocks) -> Course:
    """The pod goes only after the hub has heard of its final model: a pod that is gone cannot be asked again."""
    heard = client.status.get("finalModel")
    found = final_round(seen.pods, client.job.uid)
    round_ = found if found is not None else heard["round"] if heard else None
    finished = _condition(client, round_, clocks)
    if client.desired == "Suspended":
        return Course(0, finished, round_)
    if client.desired == "Running":
        return Course(1, finished, round_)
    if round_ is not None:
        return Course(0 if heard else 1, finished, round_, None if heard else 0.0)
    left = END_SECONDS - (clocks.now - (clocks.finished_since if clocks.finished_since is not None else clocks.now))
    if left <= 0 or not _runs(seen) or client.condition(FINISHED).get("reason") == NO_MODEL:
        return Course(0, Condition(FINISHED, "False", NO_MODEL, "it was away at the end"), None)
    return Course(1, finished, None, left)


def _condition(client: FederatedClient, round_: int | None, clocks: Clocks) -> Condition:
    if round_ is not None:
        return Condition(FINISHED, "True", MODEL_KEPT, f"the final model, of round {round_}, is in the state volume")
    return Condition(FINISHED, "False", NOT_YET, "the job has not ended")


def _runs(seen: Seen) -> bool:
    """Whether a client is there that may still bring the final model."""
    return any(
        (d["spec"].get("replicas") or 0) > 0 and "deletionTimestamp" not in d["metadata"] for d in seen.deployments
    )
