"""One FederatedClient, what is there of it in the silo, and the site file: what to do, and what to say. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from umbel_operator.agent import identity, manifests
from umbel_operator.agent.diagnosis import Diagnosis, diagnose
from umbel_operator.agent.federatedclient import JOB_UID, FederatedClient
from umbel_operator.agent.identity import PrivateKey
from umbel_operator.agent.lifecycle import FINISHED, Course, course
from umbel_operator.agent.plan import Apply, Clocks, Delete, Draft, Label, MakeKey, Object, Plan, Seen
from umbel_operator.agent.policy import ALLOWED, Decision, decide
from umbel_operator.agent.site import Site
from umbel_operator.conditions import Condition, merge
from umbel_operator.names import DIGEST

ACCEPTED = "Accepted"
READY = "Ready"
WAITING_FOR_CERTIFICATE = "WaitingForCertificate"
WAITING_FOR_SERVER = "WaitingForServer"
BAD_CERTIFICATE = "CertificateNotUsable"
SUSPENDED = "Suspended"
SILO_UNREACHABLE = "SiloUnreachable"
GOING_SECONDS = 2.0  # until something that is being deleted is looked for again


def reconcile(client: FederatedClient, site: Site, seen: Seen, namespace: str, clocks: Clocks) -> Plan:
    """``namespace``: of the silo's cluster, where everything is made."""
    decision = decide(client, site)
    if not decision.allowed:
        return _refuse(client, decision, seen, clocks)
    draft = Draft()
    _remove_other_jobs(client, site, seen, draft)
    request, fault = client.status.get("certificateRequest") or "", None
    if client.desired != "Finished":
        secret = _own(client, seen.secrets)
        key = _key(secret)
        if secret is None or key is None:
            return _make_key(client, seen, namespace, draft)
        fault = _certificate(client, key, secret, namespace, clocks.now, draft)
        request = identity.request(key, request, client.certificate, clocks.now)
    way = course(client, seen, clocks)
    ready = _run(client, site, seen, namespace, fault, way, clocks, draft)
    draft.look_again(way.again)
    status = _status(
        client,
        (Condition(ACCEPTED, "True", ALLOWED, "the silo's policy allows it"), ready, way.finished),
        request,
        way.final_round,
        clocks.now,
    )
    return Plan(tuple(draft.actions), status, draft.again)


def farewell(seen: Seen, *, retain_state: bool) -> Plan:
    """For a FederatedClient that is gone: everything but, where the site file says so, the state."""
    draft = Draft()
    _stop(seen, draft)
    for volume in seen.volumes:
        _leave(volume, draft, retain_state=retain_state)
    return Plan(tuple(draft.actions), None, GOING_SECONDS if _running_out(seen) else None)


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


def _refuse(client: FederatedClient, decision: Decision, seen: Seen, clocks: Clocks) -> Plan:
    """What runs is stopped; the state stays, as the policy may change its mind."""
    draft = Draft()
    _stop(seen, draft)
    final = (client.status.get("finalModel") or {}).get("round")
    finished = course(replace(client, desired="Suspended"), Seen(), clocks).finished
    said = (
        Condition(ACCEPTED, "False", decision.reason, decision.message),
        Condition(READY, "False", decision.reason, decision.message),
        finished,
    )
    status = _status(client, said, "", final, clocks.now)
    return Plan(tuple(draft.actions), status, GOING_SECONDS if _running_out(seen) else None)


def _stop(seen: Seen, draft: Draft) -> None:
    """The NetworkPolicy last: a pod that is still ending is never without it."""
    for kind, found in (
        ("Deployment", seen.deployments),
        ("Secret", seen.secrets),
        ("NetworkPolicy", () if seen.pods else seen.network_policies),
    ):
        draft.actions += [
            Delete(kind, obj["metadata"]["name"], obj["metadata"].get("uid"))
            for obj in found
            if "deletionTimestamp" not in obj["metadata"]
        ]


def _leave(volume: Object, draft: Draft, *, retain_state: bool) -> None:
    metadata = volume["metadata"]
    if "deletionTimestamp" in metadata:
        return
    if not retain_state:
        draft.actions.append(Delete("PersistentVolumeClaim", metadata["name"], metadata.get("uid")))
    elif manifests.RETAINED not in metadata.get("labels", {}):
        draft.actions.append(Label("PersistentVolumeClaim", metadata["name"], {manifests.RETAINED: "true"}))


def _remove_other_jobs(client: FederatedClient, site: Site, seen: Seen, draft: Draft) -> None:
    """What an earlier job of the same name left behind: its key is not this one's, nor is its state."""
    for volume in seen.volumes:
        if not _of(client, volume):
            _leave(volume, draft, retain_state=site.retain_state)
    draft.actions += [
        Delete("Deployment", d["metadata"]["name"], d["metadata"].get("uid"))
        for d in seen.deployments
        if not _of(client, d) and "deletionTimestamp" not in d["metadata"]
    ]


def _make_key(client: FederatedClient, seen: Seen, namespace: str, draft: Draft) -> Plan:
    """A Secret that holds no key of this job gives way to one that does."""
    if not _going(seen.secrets):
        draft.actions += [Delete("Secret", s["metadata"]["name"], s["metadata"].get("uid")) for s in seen.secrets]
        draft.actions.append(MakeKey(manifests.key_secret(client, namespace)))
    draft.look_again(GOING_SECONDS)
    return Plan(tuple(draft.actions), None, draft.again)


def _certificate(
    client: FederatedClient, key: PrivateKey, secret: Object, namespace: str, now: float, draft: Draft
) -> str | None:
    """Puts the certificate into the Secret. None: it can be used; else what is the matter with it, "" that there is
    none."""
    draft.look_again(_until(identity.renew_at(client.certificate), now))
    if not client.certificate:
        return ""
    fault = identity.fault(key, client.certificate, client.authorities, client.trust_domain, client.silo, now)
    if fault is None:
        wanted = manifests.certificate_secret(client, namespace, client.certificate, client.authorities)
        data = secret.get("data") or {}
        if _differs(wanted, secret) or any(data.get(name) != value for name, value in wanted["data"].items()):
            draft.actions.append(Apply(wanted))
    return fault


def _run(
    client: FederatedClient,
    site: Site,
    seen: Seen,
    namespace: str,
    fault: str | None,
    way: Course,
    clocks: Clocks,
    draft: Draft,
) -> Condition:
    """Makes or scales the Deployment and what it needs; the Ready condition."""
    found = _own(client, seen.deployments)
    server = client.server or (manifests.server_of(found) if found else None)
    runs = found is not None and bool(found["spec"].get("replicas"))
    # One that runs is left running whatever its next certificate is like; none is started without a good one.
    replicas = way.replicas if runs or fault is None else 0
    if _going(seen.deployments):
        draft.look_again(GOING_SECONDS)
    elif server is not None and (found or replicas):
        if replicas:
            _ensure_volume(client, site, seen, namespace, draft)
        _ensure(manifests.network_policy(client, site, namespace, server), _own(client, seen.network_policies), draft)
        wanted = manifests.deployment(client, site, namespace, server, replicas)
        if found is None or _differs(wanted, found) or found["spec"].get("replicas") != replicas:
            draft.actions.append(Apply(wanted))
    if client.desired == "Suspended":
        return Condition(READY, "False", SUSPENDED, "the job, or the silo at the hub, is suspended")
    if client.desired == "Finished":
        return Condition(READY, "False", FINISHED, "the job has ended")
    if not runs and (waiting := _waiting(client, fault)):
        return waiting
    seen_by = _diagnosis(client, site, seen, found, clocks)
    draft.look_again(seen_by.again)
    return seen_by.ready


def _waiting(client: FederatedClient, fault: str | None) -> Condition | None:
    if fault:
        return Condition(READY, "False", BAD_CERTIFICATE, f"the certificate from the hub is not used: {fault}")
    if fault is not None:
        return Condition(READY, "False", WAITING_FOR_CERTIFICATE, "the hub has not signed the certificate yet")
    if client.server is None:
        return Condition(READY, "False", WAITING_FOR_SERVER, "the job's server cannot be reached yet")
    return None


def _diagnosis(client: FederatedClient, site: Site, seen: Seen, found: Object | None, clocks: Clocks) -> Diagnosis:
    unbound = []
    state = _own(client, seen.volumes)
    if state is None or (state.get("status") or {}).get("phase") != "Bound":
        unbound.append("the state volume")
    if site.datasets[client.dataset].volume_claim is not None:
        if seen.dataset_volume is None:
            unbound.append(f"the volume of {client.dataset}, which does not exist")
        elif (seen.dataset_volume.get("status") or {}).get("phase") != "Bound":
            unbound.append(f"the volume of {client.dataset}")
    pods = [pod for pod in seen.pods if _of(client, pod)]
    return diagnose(pods, deployment=found, unbound=unbound, pending_seconds=clocks.pending_seconds, now=clocks.now)


def _ensure_volume(client: FederatedClient, site: Site, seen: Seen, namespace: str, draft: Draft) -> None:
    """A volume that is there stays as it is: of its spec nothing may be changed but a size that grows."""
    found = _own(client, seen.volumes)
    if found is None:
        draft.actions.append(Apply(manifests.state_volume(client, site, namespace)))
    elif manifests.RETAINED in found["metadata"].get("labels", {}):
        draft.actions.append(Label("PersistentVolumeClaim", found["metadata"]["name"], {manifests.RETAINED: None}))


def _ensure(wanted: Object, found: Object | None, draft: Draft) -> None:
    if found is None or _differs(wanted, found):
        draft.actions.append(Apply(wanted))


def _differs(wanted: Object, found: Object) -> bool:
    annotations = found["metadata"].get("annotations") or {}
    return bool(annotations.get(DIGEST) != wanted["metadata"]["annotations"][DIGEST])


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


def _key(secret: Object | None) -> PrivateKey | None:
    """None: there is none that can be used."""
    try:
        return identity.load_key(base64.b64decode(((secret or {}).get("data") or {})["tls.key"]))
    except (KeyError, ValueError):
        return None


def _own(client: FederatedClient, found: Iterable[Object]) -> Object | None:
    return next((obj for obj in found if _of(client, obj) and "deletionTimestamp" not in obj["metadata"]), None)


def _of(client: FederatedClient, obj: Object) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get(JOB_UID) == client.job.uid)


def _going(found: Iterable[Object]) -> bool:
    return any("deletionTimestamp" in obj["metadata"] for obj in found)


def _running_out(seen: Seen) -> bool:
    return bool(seen.deployments or seen.pods or seen.secrets or seen.network_policies)


def _until(moment: float | None, now: float) -> float | None:
    return max(1.0, moment - now) if moment is not None and moment > now else None
