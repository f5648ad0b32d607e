"""What the operator's metrics say of a job, read from its spec and status: aggregates, no name of a silo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from umbel.aggregation.release import UNDECLARED
from umbel.rounds import reasons as rounds
from umbel_operator.conditions import find, is_true, seconds
from umbel_operator.hub import reasons
from umbel_operator.hub.observed import Object
from umbel_operator.metrics import FAILURES, MAX_JOBS, PHASES, WAITING, Figures

NOBODYS_FAULT = (rounds.SUSPENDED, rounds.JOB_ENDED, rounds.TOTAL_LOWERED)  # not counted as abandoned by the engine
ENDED = (reasons.COMPLETE, reasons.FAILED)

Key = tuple[str, tuple[str, ...]]


def phase(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions")
    for type_ in (*ENDED, reasons.SUSPENDED):
        if is_true(conditions, type_):
            return type_
    return reasons.PROGRESSING


def listed(jobs: Iterable[Object]) -> tuple[list[Object], int]:
    """Those that have figures of their own: who goes on first, then who ended last. And how many are left out."""
    found = sorted(jobs, key=_ended_at, reverse=True)
    return found[:MAX_JOBS], max(0, len(found) - MAX_JOBS)


def _ended_at(obj: Object) -> float:
    at = (obj.get("status") or {}).get("completionTime")
    return seconds(at) if at else float("inf")


def figures(obj: Object, certificates: Iterable[float]) -> Figures:
    """``certificates``: when those of its silos end, Unix time."""
    return dict(_figures(obj, list(certificates)))


def _figures(obj: Object, certificates: list[float]) -> Iterator[tuple[Key, float]]:
    spec, status = obj["spec"], obj.get("status") or {}
    conditions, now_in = status.get("conditions"), phase(obj)
    yield from _one_of("fl_federatedjob_status_phase", PHASES, now_in)
    progressing = find(conditions, reasons.PROGRESSING)
    waits = progressing.get("reason") if progressing.get("status") == "True" else None
    yield from _one_of("fl_federatedjob_waiting", WAITING, waits)
    failure = find(conditions, reasons.FAILED).get("reason") if now_in == reasons.FAILED else None
    known = failure if failure in FAILURES else failure and "Other"
    yield from _one_of("fl_federatedjob_failed", FAILURES, known)
    yield from _rounds(spec, status)
    yield from _times(spec, status)
    yield _plain("server_ready"), float(is_true(conditions, reasons.SERVER_READY))
    silos = status.get("silos") or {}
    if silos:
        yield ("fl_federatedjob_silos", ("ready",)), silos["ready"]
        yield ("fl_federatedjob_silos", ("not_ready",)), silos["total"] - silos["ready"]
    if certificates and now_in not in ENDED:
        yield _plain("certificate_earliest_expiry_timestamp_seconds"), min(certificates)
    yield from _model(status)


def _plain(name: str) -> Key:
    return f"fl_federatedjob_{name}", ()


def _one_of(name: str, values: Iterable[str], which: str | None) -> Iterator[tuple[Key, float]]:
    for value in values:
        yield (name, (value,)), float(value == which)


def _rounds(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    round_ = status.get("round") or {}
    history = status.get("history") or []
    yield _plain("round"), round_.get("number", 0)
    total = round_.get("total", (spec.get("rounds") or {}).get("total"))
    if total is not None:
        yield _plain("rounds_target"), total
    yield _plain("rounds_abandoned_in_a_row"), abandoned_in_a_row(history)
    yield _plain("rounds_withheld_in_a_row"), withheld_in_a_row(history)


def abandoned_in_a_row(history: Iterable[Mapping[str, Any]]) -> int:
    """Attempts at the end of the history that count as abandoned."""
    count = 0
    for entry in history:
        if entry["outcome"] == "Committed":
            count = 0
        elif entry.get("reason") not in NOBODYS_FAULT:
            count += 1
    return count


def withheld_in_a_row(history: Iterable[Mapping[str, Any]]) -> int:
    """Committed rounds at the end of the history that withheld what was declared."""
    count = 0
    for entry in history:
        if entry["outcome"] == "Committed":
            withheld = {reason for reason, number in (entry.get("withheld") or {}).items() if number}
            count = count + 1 if withheld - {UNDECLARED} else 0
    return count


def _times(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    if status.get("startTime"):
        started = seconds(status["startTime"])
        yield _plain("start_timestamp_seconds"), started
        if "activeDeadlineSeconds" in spec and "completionTime" not in status:
            yield _plain("deadline_timestamp_seconds"), started + spec["activeDeadlineSeconds"]
    if status.get("completionTime"):
        yield _plain("completion_timestamp_seconds"), seconds(status["completionTime"])


def _model(status: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    for entry in status.get("metrics") or ():
        if entry["name"] == "loss":
            yield ("fl_federatedjob_model_loss", (entry["phase"],)), entry["value"]
        else:
            yield ("fl_federatedjob_model_metric", (entry["phase"], entry["name"])), entry["value"]
