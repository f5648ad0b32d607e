"""Which silos a job has, which of them belong to it now, and how each stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from umbel.job import FederatedJob, Resources
from umbel.job import Silo as Participant
from umbel_operator.conditions import find
from umbel_operator.hub import reasons
from umbel_operator.hub.observed import Object, Silo

NAMED = 20  # silos that a message names


@dataclass(frozen=True, slots=True)
class Standing:
    """One silo's part. ``present``: it is to have a FederatedClient. ``member``: the server may let it in."""

    participant: Participant
    present: bool
    member: bool
    ready: bool
    reason: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.participant.name}: {self.reason}" + (f" ({self.message})" if self.message else "")


def selected(job: FederatedJob, silos: Mapping[str, Silo], config_map: Object | None) -> tuple[Participant, ...]:
    """The job's participants. A selector is resolved once: what the server's manifest says already, stays."""
    selector = job.spec.silo_selector
    if selector is None:
        return job.spec.silos
    if config_map is not None:
        chosen = json.loads(config_map["data"]["job.json"])["spec"].get("silos") or []
        return tuple(Participant.model_validate(entry) for entry in chosen)
    return tuple(
        Participant(name=silo.name, dataset=selector.dataset, resources=Resources())
        for silo in sorted(silos.values(), key=lambda silo: silo.name)
        if selector.match_labels.items() <= silo.labels.items()
        and silo.datasets is not None
        and selector.dataset in silo.datasets
        and not silo.suspended
        and silo.admits(job.metadata.namespace)
    )


def standings(
    participants: Iterable[Participant], namespace: str, silos: Mapping[str, Silo], clients: Mapping[str, Object]
) -> list[Standing]:
    """``clients``: the job's FederatedClients by the name of their silo."""
    return [_standing(p, namespace, silos.get(p.name), clients.get(p.name)) for p in participants]


def _standing(participant: Participant, namespace: str, silo: Silo | None, client: Object | None) -> Standing:
    def away(reason: str, message: str, present: bool = False) -> Standing:
        return Standing(participant, present, False, False, reason, message)

    if silo is None:
        return away(reasons.NO_SUCH_SILO, "the hub has no Silo of that name")
    if not silo.admits(namespace):
        return away(reasons.NOT_ADMITTED, f"it takes no jobs of namespace {namespace}")
    if silo.suspended:
        return away(reasons.SILO_SUSPENDED, "", present=True)
    ready = find(_conditions(client), "Ready")
    accepted = find(_conditions(client), "Accepted")
    if accepted.get("status") == "False":
        reason, is_ready = accepted["reason"], False
    elif not silo.alive:
        reason, is_ready = reasons.NEVER_SEEN if silo.alive is None else reasons.AGENT_SILENT, False
    else:
        reason, is_ready = ready.get("reason") or reasons.NO_REPORT, ready.get("status") == "True"
    # A member is who may come in: a silo that is not ready yet, or whose agent is silent, may still train.
    return Standing(participant, True, accepted.get("status") != "False", is_ready, reason)


def _conditions(client: Object | None) -> Iterable[Mapping[str, Any]]:
    return ((client or {}).get("status") or {}).get("conditions") or ()


def summed_up(standings: Iterable[Standing]) -> str:
    """Those that are not ready, by name: lifecycle only, which the silos' names in the manifest may be told with."""
    waiting = [str(standing) for standing in standings if not standing.ready]
    more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
    return ", ".join(waiting[:NAMED]) + more
