"""The status of a FederatedJob: conditions and aggregate facts, bounded, nothing of a single silo's rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from umbel.job import FederatedJob
from umbel.risks import CONDITION as SETTINGS_AT_RISK
from umbel.risks import risks
from umbel.rounds.reasons import WAITING_FOR_MEMBERS
from umbel_operator import names
from umbel_operator.conditions import Condition, find, merge, timestamp
from umbel_operator.hub import reasons
from umbel_operator.hub.course import Course
from umbel_operator.hub.observed import Object, ServerSight
from umbel_operator.hub.participants import Standing, summed_up
from umbel_operator.hub.plan import Announce
from umbel_operator.hub.server_pod import PodSight

KEPT = 20  # rounds of the history
COMMITTED = "Committed"  # as the server's records say it
ANNOUNCED = (reasons.COMPLETE, reasons.FAILED, reasons.SUSPENDED, reasons.SERVER_READY, reasons.SILOS_READY)
WARNINGS = (reasons.FAILED, SETTINGS_AT_RISK)


def build(
    obj: Object,
    job: FederatedJob,
    course: Course,
    server: ServerSight,
    pod: PodSight,
    standings: list[Standing],
    url: str | None,
    waiting: str,
    now: float,
) -> dict[str, Any]:
    """The whole status, as it is to be."""
    before = obj.get("status") or {}
    generation = obj["metadata"]["generation"]
    told = server.status or {}
    conditions = list(_conditions(job, course, server, pod, standings, waiting, before))
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merge(before.get("conditions") or (), conditions, generation, now),
        "round": _round(job, told, before.get("round") or {}, ended="completionTime" in before),
    }
    if course.started is not None:
        status["startTime"] = timestamp(course.started)
    if course.outcome is not None:
        status["completionTime"] = timestamp(course.outcome.at)
    for name, value in (
        ("history", [_record(entry) for entry in told.get("history", [])[-KEPT:]] or before.get("history")),
        ("metrics", _metrics(told.get("metrics") or {}) or before.get("metrics")),
        ("model", _model(obj, job, told) or before.get("model")),
        ("silos", _silos(standings, course, before)),
        ("endpoint", url or before.get("endpoint")),
    ):
        if value:
            status[name] = value
    return status


def announcements(before: Object, after: Object) -> list[Announce]:
    """An Event for each condition that turned."""
    found = []
    old = before.get("conditions")
    for condition in after["conditions"]:
        was = find(old, condition["type"])
        same = (was.get("status"), was.get("reason")) == (condition["status"], condition["reason"])
        if condition["type"] in (*ANNOUNCED, SETTINGS_AT_RISK) and not same and _worth_telling(condition, was):
            warning = condition["type"] in WARNINGS or condition["status"] == "False"
            name = condition["type"] if condition["status"] == "True" else condition["reason"]
            found.append(
                Announce("Warning" if warning else "Normal", name, condition["message"] or condition["reason"])
            )
    return found


def _worth_telling(condition: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
    """What turned good, and what turned bad of itself; not the quiet before the start and after the end."""
    if condition["status"] == "True":
        return True
    quiet = (reasons.STARTING, "Pending", reasons.SUSPENDED, reasons.ENDED)
    return condition["reason"] not in quiet and (bool(was) or condition["reason"] != reasons.SOME_NOT_READY)


def _conditions(
    job: FederatedJob,
    course: Course,
    server: ServerSight,
    pod: PodSight,
    standings: list[Standing],
    waiting: str,
    before: Object,
) -> Iterable[Condition]:
    outcome = course.outcome
    yield _progressing(course, server, pod, standings, waiting)
    if outcome is not None:
        yield Condition(outcome.type, "True", outcome.reason, outcome.message)
    if job.spec.suspend and outcome is None:
        yield Condition(reasons.SUSPENDED, "True", reasons.SUSPENDED, "spec.suspend is set")
    elif find(before.get("conditions"), reasons.SUSPENDED):
        yield Condition(reasons.SUSPENDED, "False", "Resumed", "")
    yield _server_ready(course, server, pod)
    yield _silos_ready(course, standings)
    if found := risks(job):
        yield Condition(SETTINGS_AT_RISK, "True", "RiskySettings", "\n".join(map(str, found)))
    if output := (server.status or {}).get("output"):
        written = output["written"]
        yield Condition(
            reasons.OUTPUT_WRITTEN,
            "True" if written else "False",
            "Written" if written else "OutputFailed",
            job.spec.model.output.uri if written else output["message"],
        )
    elif kept := find(before.get("conditions"), reasons.OUTPUT_WRITTEN):
        yield Condition(reasons.OUTPUT_WRITTEN, kept["status"], kept["reason"], kept["message"])


def _progressing(
    course: Course, server: ServerSight, pod: PodSight, standings: list[Standing], waiting: str
) -> Condition:
    """Its reason is where the job stands, in one word. What changes within a round is not in it."""
    type_ = reasons.PROGRESSING
    if course.outcome is not None:
        return Condition(type_, "False", course.outcome.type, course.outcome.reason)
    if course.clients == "Suspended":
        return Condition(type_, "False", reasons.SUSPENDED, "spec.suspend is set")
    if waiting:
        return Condition(
            type_, "True", reasons.WAITING_FOR_ENDPOINT, f"silos cannot reach the server: it waits for {waiting}"
        )
    told = server.status
    if told is None:
        return Condition(type_, "True", reasons.STARTING, f"the server: {pod.message}")
    if told["phase"] == "Gathering" and (told["reason"] != WAITING_FOR_MEMBERS or not told["history"]):
        return Condition(type_, "True", reasons.WAITING_FOR_SILOS, told["message"])
    return Condition(type_, "True", reasons.TRAINING, "")


def _server_ready(course: Course, server: ServerSight, pod: PodSight) -> Condition:
    type_ = reasons.SERVER_READY
    if not course.server_runs:
        reason = reasons.SUSPENDED if course.clients == "Suspended" else reasons.ENDED
        return Condition(type_, "False", reason, "it is scaled to zero")
    if server.status is not None:
        return Condition(type_, "True", reasons.REACHABLE, "")
    if pod.reason == reasons.STARTING and server.error:
        return Condition(type_, "False", pod.reason, f"{pod.message}; its admin port does not answer: {server.error}")
    return Condition(type_, "False", pod.reason, pod.message)


def _silos_ready(course: Course, standings: list[Standing]) -> Condition:
    type_ = reasons.SILOS_READY
    if course.clients != "Running":
        reason = reasons.SUSPENDED if course.clients == "Suspended" else reasons.ENDED
        return Condition(type_, "False", reason, "the clients are scaled to zero")
    if all(standing.ready for standing in standings):
        return Condition(type_, "True", reasons.ALL_READY, f"{len(standings)} of {len(standings)}")
    return Condition(type_, "False", reasons.SOME_NOT_READY, summed_up(standings))


def _silos(standings: list[Standing], course: Course, before: Object) -> dict[str, Any]:
    """At the end they stay as they were: the clients are gone because it is the end."""
    if course.outcome is not None and before.get("silos"):
        return dict(before["silos"])
    ready = sum(standing.ready for standing in standings)
    return {"ready": ready, "total": len(standings), "summary": f"{ready}/{len(standings)}"}


def _round(job: FederatedJob, told: Mapping[str, Any], before: Mapping[str, Any], *, ended: bool) -> dict[str, Any]:
    """``number``: of committed rounds, so that one round is one change. An edit after the end changes nothing."""
    if ended and before:
        return dict(before)
    total = job.spec.rounds.total
    if not told:
        return {"number": 0, "attempt": 0, **before, "total": total, "progress": f"{before.get('number', 0)}/{total}"}
    history = told["history"]
    number = _committed(told, before.get("number", 0))
    attempt = history[-1]["attempt"] if history else 0
    return {"number": number, "total": total, "attempt": attempt, "progress": f"{number}/{total}"}


def _committed(told: Mapping[str, Any], otherwise: int) -> int:
    rounds = [entry["round"] for entry in told["history"] if entry["outcome"] == COMMITTED]
    return int(max(rounds, default=otherwise))


def _record(entry: Mapping[str, Any]) -> dict[str, Any]:
    members = ("invited", "full", "partial", "declined", "timedOut", "lost", "rejected")
    kept = {
        "round": entry["round"],
        "attempt": entry["attempt"],
        "outcome": entry["outcome"],
        "reason": entry["reason"],
        "started": timestamp(entry["started"]),
        "seconds": entry["seconds"],
        "members": {name: entry[name] for name in members},
        "examples": entry["examples"],
        "updateNorm": entry["updateNorm"],
        "metrics": _metrics({"train": entry["train"], "evaluate": entry["evaluate"]}),
        "withheld": entry["withheld"],
        "bytesUp": entry["bytesUp"],
        "bytesDown": entry["bytesDown"],
    }
    return {name: value for name, value in kept.items() if value not in (None, "", {}, [])}


def _metrics(phases: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "phase": phase, "value": value}
        for phase, values in sorted(phases.items())
        for name, value in sorted(values.items())
    ]


def _model(obj: Object, job: FederatedJob, told: Mapping[str, Any]) -> dict[str, Any]:
    model = told.get("model") or {}
    if not model or model["round"] != _committed(told, model["round"]):
        return {}  # of a round that is not released yet
    meta = obj["metadata"]
    found = {
        "round": model["round"],
        "digest": model["digest"],
        "volume": names.model_volume(meta["name"], meta["uid"]),
        "path": model["path"].removeprefix("/state/"),
    }
    if (told.get("output") or {}).get("written"):
        found["uri"] = job.spec.model.output.uri
    return found
