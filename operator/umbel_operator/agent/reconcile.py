"""One FederatedClient, what was decided of it, what a backend has of it: what to do, and what to say. Pure.

Here is what all backends share: the life of key and certificate, the course of a client, the status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from umbel_operator.agent import identity
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import GOING_SECONDS, Holding
from umbel_operator.agent.lifecycle import FINISHED, Course, course
from umbel_operator.agent.plan import Clocks, Draft, Object, Plan
from umbel_operator.agent.policy import Decision
from umbel_operator.conditions import Condition, merge

ACCEPTED = "Accepted"
READY = "Ready"
WAITING_FOR_CERTIFICATE = "WaitingForCertificate"
WAITING_FOR_SERVER = "WaitingForServer"
BAD_CERTIFICATE = "CertificateNotUsable"
SUSPENDED = "Suspended"


def reconcile(client: FederatedClient, decision: Decision, holding: Holding, clocks: Clocks) -> Plan:
    """``decision``: on this very client. ``holding``: of it, by the site file."""
    if not decision.allowed:
        return _refuse(client, decision, holding, clocks)
    draft = Draft()
    draft.look_again(decision.again)
    holding.clear(draft)
    request, fault = client.status.get("certificateRequest") or "", None
    if client.desired != "Finished":
        key = holding.key
        if key is None:
            holding.make_key(draft)
            return Plan(tuple(draft.actions), None, draft.again)
        fault = _certificate(client, key, holding, clocks.now, draft)
        request = identity.request(key, request, client.certificate, clocks.now)
    way = course(client, holding.final_round, clocks, runs=holding.runs)
    ready = _run(client, holding, fault, way, clocks, draft)
    draft.look_again(way.again)
    status = _status(
        client,
        (Condition(ACCEPTED, "True", decision.reason, decision.message), ready, way.finished),
        request,
        way.final_round,
        clocks.now,
    )
    return Plan(tuple(draft.actions), status, draft.again)


def farewell(holding: Holding) -> Plan:
    """For a FederatedClient that is gone: everything but, where the site file says so, the state."""
    draft = Draft()
    holding.stop(draft)
    holding.leave(draft)
    return Plan(tuple(draft.actions), None, GOING_SECONDS if holding.remains else None)


def unread(holding: Holding) -> Plan:
    """For a FederatedClient that nobody can judge: neither policy, clock nor administrator could end what it has had
    started. So that ends now; its state stays."""
    draft = Draft()
    holding.stop(draft)
    return Plan(tuple(draft.actions), None, GOING_SECONDS if holding.remains else None)


def troubled(client: FederatedClient, condition: Condition, now: float) -> Plan:
    """After a pass that failed: what was said last, but for Ready."""
    before = {entry["type"]: entry for entry in client.status.get("conditions") or ()}
    kept = [
        Condition(type_, before[type_]["status"], before[type_]["reason"], before[type_].get("message", ""))
        for type_ in (ACCEPTED, FINISHED)
        if type_ in before
    ]
    final = (client.status.get("finalModel") or {}).get("round")
    request = client.status.get("certificateRequest") or ""
    return Plan(status=_status(client, (*kept, condition), request, final, now))


# ---- pieces


def _refuse(client: FederatedClient, decision: Decision, holding: Holding, clocks: Clocks) -> Plan:
    """What runs is stopped; the state stays, as the policy may change its mind."""
    draft = Draft()
    holding.stop(draft)
    final = (client.status.get("finalModel") or {}).get("round")
    finished = course(replace(client, desired="Suspended"), None, clocks, runs=False).finished
    said = (
        Condition(ACCEPTED, "False", decision.reason, decision.message),
        Condition(READY, "False", decision.reason, decision.message),
        finished,
    )
    status = _status(client, said, "", final, clocks.now)
    return Plan(tuple(draft.actions), status, GOING_SECONDS if holding.remains else None)


def _certificate(
    client: FederatedClient, key: identity.PrivateKey, holding: Holding, now: float, draft: Draft
) -> str | None:
    """Has the certificate put beside the key. None: it can be used; else what is the matter with it, "" that there is
    none."""
    draft.look_again(_until(identity.renew_at(client.certificate), now))
    if not client.certificate:
        return ""
    fault = identity.fault(key, client.certificate, client.authorities, client.trust_domain, client.silo, now)
    if fault is None:
        holding.install(draft)
    return fault


def _run(
    client: FederatedClient, holding: Holding, fault: str | None, way: Course, clocks: Clocks, draft: Draft
) -> Condition:
    """Has the client started or stopped; the Ready condition."""
    # One that runs is left running whatever its next certificate is like; none is started without a good one.
    holding.run(way.runs and (holding.runs or fault is None), draft)
    if client.desired == "Suspended":
        return Condition(READY, "False", SUSPENDED, "the job, or the silo at the hub, is suspended")
    if client.desired == "Finished":
        return Condition(READY, "False", FINISHED, "the job has ended")
    if not holding.runs and (waiting := _waiting(client, fault)):
        return waiting
    diagnosis = holding.diagnose(clocks)
    draft.look_again(diagnosis.again)
    return diagnosis.ready


def _waiting(client: FederatedClient, fault: str | None) -> Condition | None:
    if fault:
        return Condition(READY, "False", BAD_CERTIFICATE, f"the certificate from the hub is not used: {fault}")
    if fault is not None:
        return Condition(READY, "False", WAITING_FOR_CERTIFICATE, "the hub has not signed the certificate yet")
    if client.server is None:
        return Condition(READY, "False", WAITING_FOR_SERVER, "the job's server cannot be reached yet")
    return None


def _status(
    client: FederatedClient, said: Iterable[Condition], request: str, final: int | None, now: float
) -> Object | None:
    """None: the hub has it already."""
    status: Object = {
        "observedGeneration": client.generation,
        "conditions": merge(client.status.get("conditions") or (), said, client.generation, now),
    }
    if request:
        status["certificateRequest"] = request
    if final is not None:
        status["finalModel"] = {"round": final}
    return None if _same(status, client.status) else status


def _same(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    def by_type(conditions: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
        return sorted(conditions or (), key=lambda entry: str(entry.get("type")))

    def rest(of: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in of.items() if key != "conditions"}

    return rest(status) == rest(before) and by_type(status["conditions"]) == by_type(before.get("conditions"))


def _until(moment: float | None, now: float) -> float | None:
    return max(1.0, moment - now) if moment is not None and moment > now else None
