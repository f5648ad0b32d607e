"""One pass over a FederatedJob: from what it says and what was seen to what is to be done. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from umbel import job as manifest
from umbel.job import Fault, FederatedJob, JobError
from umbel_operator import names
from umbel_operator.conditions import Condition, merge, seconds, timestamp
from umbel_operator.digest import same, stamped
from umbel_operator.hub import course as courses
from umbel_operator.hub import reasons, server_pod, status
from umbel_operator.hub.course import Course
from umbel_operator.hub.endpoint import endpoint
from umbel_operator.hub.manifests import client, pod, server
from umbel_operator.hub.manifests.common import Identity
from umbel_operator.hub.observed import Object, Observed, Told, key
from umbel_operator.hub.participants import Standing, selected, standings
from umbel_operator.hub.plan import REST_SECONDS, RESYNC_SECONDS, Action, Announce, Apply, Delete, Plan, SetStatus, Tell
from umbel_operator.hub.settings import Settings

NODE_LOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class View:
    """A job and all that was found out about it; what the pieces of a pass are made from."""

    obj: Object
    identity: Identity
    job: FederatedJob
    observed: Observed
    settings: Settings
    course: Course
    standings: list[Standing]
    url: str | None
    now: float

    @property
    def members(self) -> frozenset[str]:
        return frozenset(standing.participant.name for standing in self.standings if standing.member)


def reconcile(obj: Object, observed: Observed, settings: Settings, now: float) -> Plan:
    """``obj``: the FederatedJob as the API has it. ``now``: Unix time. The same twice, once what the first wanted is
    so, wants nothing."""
    meta = obj["metadata"]
    identity = Identity(meta["name"], meta["namespace"], meta["uid"])
    if courses.recorded(obj.get("status") or {}) and _expired(obj, now):
        return Plan(delete_job=True)
    config_map = observed.objects.get(("ConfigMap", identity.namespace, names.server(identity.name)))
    try:
        parsed = manifest.parse(_manifest(obj))
        _config_unchanged(parsed, config_map)
        job, rest = _resolved(parsed, observed, config_map)
    except JobError as error:
        return _invalid(obj, observed, settings, config_map, str(error), now)
    if job is None and courses.recorded(obj.get("status") or {}):
        return Plan(again=_until_expired(obj, now))
    if job is None:
        return _with_status(obj, _waiting_status(obj, parsed, rest, now))
    sight = server_pod.look(observed.pod)
    where = courses.decide(obj, job, observed, sight, now)
    by_silo = {entry["spec"]["silo"]: entry for entry in observed.clients.values()}
    standing = standings(job.spec.silos, identity.namespace, observed.silos, by_silo)
    url, waiting = endpoint(job, observed)
    view = View(obj, identity, job, observed, settings, where, standing, url, now)
    wanted = [*_server_objects(view), *_clients(view)]
    settled = tuple(key(w) for w in wanted if same(w, _live(observed, w), observed.applied.get(key(w))))
    actions: list[Action] = [Apply(stamped(w)) for w in wanted if key(w) not in settled]
    actions += _leftovers(view, wanted)
    actions += _lost_pod(view)
    actions += _tell(view)
    after = status.build(obj, job, where, observed.server, sight, standing, url, waiting, now)
    actions += _status_actions(obj, after)
    return Plan(tuple(actions), _again(view), settled=settled)


# ---- the manifest


def _manifest(obj: Object) -> dict[str, Any]:
    meta = {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "spec": obj["spec"]}


def _resolved(parsed: FederatedJob, observed: Observed, config_map: Object | None) -> tuple[FederatedJob | None, str]:
    """(the job with its participants, ""), or (None, what is waited for). Raises JobError."""
    if parsed.spec.silo_selector is None:
        return manifest.resolve(parsed), ""
    manifest.resolve(parsed)  # everything that does not depend on who is selected
    chosen = selected(parsed, observed.silos, config_map)
    least = max(parsed.spec.rounds.updates or 0, parsed.spec.rounds.quorum or 0)
    if len(chosen) < least:
        return None, f"spec.siloSelector matches {len(chosen)} silos with that data set; {least} are needed"
    with_silos = parsed.spec.model_copy(update={"silos": chosen, "silo_selector": None})
    return manifest.resolve(parsed.model_copy(update={"spec": with_silos})), ""


def _invalid(
    obj: Object, observed: Observed, settings: Settings, config_map: Object | None, fault: str, now: float
) -> Plan:
    """A job that never began fails; one that runs goes on as it was, and says what it cannot do."""
    before, generation = obj.get("status") or {}, obj["metadata"]["generation"]
    if config_map is not None:
        running = json.loads(config_map["data"]["job.json"])["spec"]
        if isinstance(obj["spec"].get("suspend"), bool):  # stopping needs no manifest that is right
            running["suspend"] = obj["spec"]["suspend"]
        plan = reconcile({**obj, "spec": running}, observed, settings, now)
        refused = Condition(reasons.SPEC_ACCEPTED, "False", reasons.INVALID_SPEC, fault)
        said = merge(before.get("conditions") or (), [refused], generation, now)
        after = next((a.status for a in plan.actions if isinstance(a, SetStatus)), before)
        conditions = [entry for entry in after.get("conditions", ()) if entry["type"] != refused.type]
        others = [action for action in plan.actions if not isinstance(action, SetStatus | Announce)]
        told = _status_actions(obj, {**after, "conditions": [*conditions, *said]})
        return Plan((*others, *told), plan.again)
    left = _without_a_manifest(obj, observed)
    if courses.recorded(before):
        return Plan(left, _until_expired(obj, now))
    failed = [
        Condition(reasons.PROGRESSING, "False", reasons.FAILED, reasons.INVALID_SPEC),
        Condition(reasons.FAILED, "True", reasons.INVALID_SPEC, fault),
    ]
    after = {
        "observedGeneration": generation,
        "conditions": merge(before.get("conditions") or (), failed, generation, now),
        "completionTime": timestamp(now),
    }
    return Plan((*left, *_status_actions(obj, after)), _until_expired({**obj, "status": after}, now))


def _without_a_manifest(obj: Object, observed: Observed) -> tuple[Action, ...]:
    """Whatever still runs of a job that can neither go on as it was nor as it says."""
    meta = obj["metadata"]
    name = names.server(meta["name"])
    runs = observed.objects.get(("StatefulSet", meta["namespace"], name))
    clients = (client["metadata"] for client in observed.clients.values())
    return (
        *([Delete("StatefulSet", meta["namespace"], name)] if runs and not _going(runs["metadata"]) else ()),
        *(Delete("FederatedClient", c["namespace"], c["name"], c["uid"]) for c in clients if not _going(c)),
    )


def _going(meta: Object) -> bool:
    """Deleted already: a finalizer keeps it, and to delete it again would not help."""
    return "deletionTimestamp" in meta


def _config_unchanged(parsed: FederatedJob, config_map: Object | None) -> None:
    """The one immutable field that the CustomResourceDefinition cannot see into. Raises JobError."""
    if config_map is None:
        return
    running = json.loads(config_map["data"]["job.json"])["spec"]["app"].get("config") or {}
    if running != dict(parsed.spec.app.config):
        remedy = "put it back, or delete the job and apply it anew"
        raise JobError([Fault("spec.app.config", "cannot change once the job exists", remedy)])


def _waiting_status(obj: Object, parsed: FederatedJob, message: str, now: float) -> dict[str, Any]:
    before, generation = obj.get("status") or {}, obj["metadata"]["generation"]
    said = [Condition(reasons.PROGRESSING, "True", reasons.TOO_FEW_SILOS, message)]
    if parsed.spec.suspend:
        said.append(Condition(reasons.SUSPENDED, "True", reasons.SUSPENDED, "spec.suspend is set"))
    conditions = merge(before.get("conditions") or (), said, generation, now)
    return {"observedGeneration": generation, "conditions": conditions}  # no startTime: the deadline does not run yet


def _expired(obj: Object, now: float) -> bool:
    at = _expires(obj)
    return at is not None and now >= at


def _until_expired(obj: Object, now: float) -> float:
    at = _expires(obj)
    return RESYNC_SECONDS if at is None else max(1.0, min(RESYNC_SECONDS, at - now))


def _expires(obj: Object) -> float | None:
    """When a job that has ended is to be deleted."""
    ttl, ended = obj["spec"].get("ttlSecondsAfterFinished"), obj["status"].get("completionTime")
    return seconds(ended) + ttl if isinstance(ttl, int) and ended is not None else None


# ---- objects


def _server_objects(view: View) -> Iterator[Object]:
    """In the order in which they need one another; none any more for a job that ended before it had a server."""
    identity, job, observed = view.identity, view.job, view.observed
    ended = view.course.outcome is not None and not view.course.server_runs
    if ended and ("StatefulSet", identity.namespace, names.server(identity.name)) not in observed.objects:
        return
    yield server.service(identity, job)
    yield server.admin_service(identity)
    yield server.network_policy(identity, job, view.settings)
    yield server.service_account(identity)
    yield server.config_map(identity, job)
    if observed.tls is not None:
        yield server.tls_secret(identity, observed.tls)
    volume = server.volume(identity, job, _on_the_volume(view))
    if not ended or key(volume) in observed.objects:  # one that was removed after the end stays so
        yield volume
    yield pod.stateful_set(identity, job, view.settings, int(view.course.server_runs))
    if (route := server.tls_route(identity, job, observed.route_version)) is not None:
        yield route


def _on_the_volume(view: View) -> Mapping[str, str]:
    """What `umbel model` reads when the job is long gone."""
    outcome = view.course.outcome
    model = (view.obj.get("status") or {}).get("model")
    if outcome is None or outcome.type != "Complete" or view.course.server_runs or not model:
        return {}
    said = json.dumps({name: model[name] for name in ("round", "digest", "path") if name in model}, sort_keys=True)
    return {names.MODEL: said, names.IMAGE: view.job.spec.app.image or "", names.FINISHED: timestamp(outcome.at)}


def _clients(view: View) -> Iterator[Object]:
    """Once there is an address to dial, so that each is written once; a balancer's may take minutes, and certificates
    can be asked for meanwhile."""
    slow = view.job.spec.server.expose.type in ("LoadBalancer", "Gateway")
    for standing in view.standings:
        if not standing.present or not (view.url or slow):
            continue
        name = names.client(
            view.settings.trust_domain, view.identity.namespace, view.identity.name, standing.participant.name
        )
        if view.course.outcome is not None and name not in view.observed.clients:
            continue
        desired = "Suspended" if standing.reason == reasons.SILO_SUSPENDED else view.course.clients
        yield client.federated_client(
            view.identity,
            view.job,
            standing.participant,
            view.settings,
            desired="Finished" if view.course.clients == "Finished" else desired,
            url=view.url,
            bundle=view.observed.bundle,
            certificate=view.observed.certificates.get(name),
        )


def _live(observed: Observed, wanted: Object) -> Object | None:
    if wanted["kind"] == "FederatedClient":
        return observed.clients.get(wanted["metadata"]["name"])
    return observed.objects.get(key(wanted))


def _leftovers(view: View, wanted: list[Object]) -> Iterator[Delete]:
    """FederatedClients of silos that are not in the job any more."""
    present = {names.silo_namespace(s.participant.name) for s in view.standings if s.present}
    for entry in view.observed.clients.values():
        meta = entry["metadata"]
        if meta["namespace"] not in present and not _going(meta):
            yield Delete("FederatedClient", meta["namespace"], meta["name"], meta["uid"])


def _lost_pod(view: View) -> Iterator[Action]:
    """A pod on a node that is silent stays for ever: the StatefulSet cannot know that it is gone. The volume attaches
    once and the epoch fences, so that two never train."""
    lost, found = view.observed.pod_node_lost, view.observed.pod
    if lost is None or found is None or view.now < lost + NODE_LOST_SECONDS:
        return
    meta = found["metadata"]
    if _going(meta) and meta.get("deletionGracePeriodSeconds") == 0:
        return  # it has been deleted by force
    yield Delete("Pod", meta["namespace"], meta["name"], meta["uid"], force=True)
    yield Announce(
        "Warning", reasons.NODE_LOST, "the server's node is silent for 5 minutes: its pod was deleted by force"
    )


def _tell(view: View) -> Iterator[Tell]:
    told = view.observed.server.status
    if told is None or told["phase"] in ("Complete", "Failed") or told.get("uid") != view.identity.uid:
        return
    spec, rounds = view.job.spec, view.job.spec.rounds
    wanted = Told(
        told["epoch"],
        view.members,
        rounds.total,
        spec.active_deadline_seconds,
        rounds.updates or len(spec.silos),
        rounds.quorum or 1,
        spec.model.output.uri,
        frozenset(s.participant.name for s in view.standings if s.member and s.reason in reasons.QUEUED),
    )
    if wanted != view.observed.told:
        yield Tell(wanted)


# ---- status


def _with_status(obj: Object, after: dict[str, Any]) -> Plan:
    return Plan(tuple(_status_actions(obj, after)))


def _status_actions(obj: Object, after: dict[str, Any]) -> list[Action]:
    before = obj.get("status") or {}
    if before == after:
        return []
    return [SetStatus(after), *(status.announcements(before, after) if "conditions" in after else ())]


def _again(view: View) -> float:
    """After how long time alone may change something."""
    course, now = view.course, view.now
    moments = [RESYNC_SECONDS if course.server_runs else REST_SECONDS]
    if course.again is not None:
        moments.append(course.again)
    if view.observed.pod_node_lost is not None:
        moments.append(view.observed.pod_node_lost + NODE_LOST_SECONDS - now)
    ttl = view.job.spec.ttl_seconds_after_finished
    if course.outcome is not None and ttl is not None:
        moments.append(course.outcome.at + ttl - now)
    return max(1.0, min(moments))
