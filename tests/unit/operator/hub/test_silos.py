"""What the hub says of a silo, from its Silo and its agent's Lease."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.operator.hub.world import NOW

from umbel_operator import names
from umbel_operator.conditions import timestamp
from umbel_operator.hub.silos import SiloBook, ours, status

REPORT = {"version": "0.1.0", "backend": "kubernetes", "datasets": ["digits", "chest-ct"]}


def silo(before: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "hospital-a", "generation": 2}, "spec": spec, "status": before or {}}


def lease(heard: float | None = NOW, report: object = REPORT) -> dict[str, Any]:
    text = report if isinstance(report, str) else json.dumps(report)
    meta = {"namespace": "umbel-silo-hospital-a", "name": "umbel-agent", "annotations": {names.AGENT_REPORT: text}}
    return {"metadata": meta, "spec": {"renewTime": timestamp(heard)} if heard else {}}


def ready(found: dict[str, Any]) -> tuple[str, str]:
    (condition,) = found["conditions"]
    assert condition["type"] == "Ready"
    return condition["status"], condition["reason"]


@pytest.mark.parametrize(
    ("item", "heartbeat", "after", "expected"),
    [
        (silo(), None, 0, ("Unknown", "NeverSeen")),
        (silo(), lease(None), 0, ("Unknown", "NeverSeen")),
        (silo(), lease(), 0, ("True", "AgentAlive")),
        (silo(), lease(), 40, ("True", "AgentAlive")),
        (silo(), lease(), 41, ("Unknown", "AgentSilent")),
        (silo(suspend=True), lease(), 0, ("False", "Suspended")),
        (silo(suspend=True), None, 0, ("False", "Suspended")),
    ],
)
def test_ready(item: dict[str, Any], heartbeat: dict[str, Any] | None, after: float, expected: tuple[str, str]) -> None:
    assert ready(status(item, heartbeat, NOW + after)) == expected


def test_what_the_agent_reports_is_shown() -> None:
    found = status(silo(), lease(), NOW)
    assert found["agentVersion"] == "0.1.0"
    assert found["backend"] == "kubernetes"
    assert found["datasets"] == ["chest-ct", "digits"]
    assert found["lastHeartbeatTime"] == timestamp(NOW)


@pytest.mark.parametrize("report", ["{", "[]", "null", "7", {"datasets": "all", "version": 3, "backend": None}])
def test_a_report_that_makes_no_sense_is_passed_over(report: object) -> None:
    found = status(silo(), lease(report=report), NOW)
    assert ready(found) == ("True", "AgentAlive")
    assert not found.keys() & {"agentVersion", "backend", "datasets"}


def test_a_report_is_bounded() -> None:
    found = status(silo(), lease(report={"datasets": [f"d{n}" for n in range(999)], "version": "v" * 999}), NOW)
    assert len(found["datasets"]) == 256
    assert len(found["agentVersion"]) == 63


def test_nothing_is_written_while_nothing_changes() -> None:
    first = status(silo(), lease(), NOW)
    for second in range(0, 300, 10):
        assert status(silo(first), lease(NOW + second), NOW + second + 5) == first
    later = status(silo(first), lease(NOW + 300), NOW + 300)
    assert later["lastHeartbeatTime"] == timestamp(NOW + 300)
    assert later["conditions"] == first["conditions"]


def test_silence_is_written_once_with_the_last_time_it_was_heard() -> None:
    alive = status(silo(), lease(), NOW)
    silent = status(silo(alive), lease(NOW + 20), NOW + 61)
    assert ready(silent) == ("Unknown", "AgentSilent")
    assert silent["lastHeartbeatTime"] == timestamp(NOW + 20)
    assert status(silo(silent), lease(NOW + 20), NOW + 9999) == silent
    back = status(silo(silent), lease(NOW + 100), NOW + 100)
    assert ready(back) == ("True", "AgentAlive")
    assert back["lastHeartbeatTime"] == timestamp(NOW + 100)


def test_a_book_wakes_the_jobs_of_silos_that_changed_for_them() -> None:
    woken: list[set[str]] = []
    book = SiloBook(None, woken.append)  # type: ignore[arg-type]
    book._silos = {"hospital-a": silo(), "hospital-b": {**silo(), "metadata": {"name": "hospital-b"}}}
    book._look(NOW)
    book._look(NOW)
    assert woken == [{"hospital-a", "hospital-b"}]
    book._leases = {"umbel-silo-hospital-a": lease()}
    book._look(NOW + 1)
    book._leases = {"umbel-silo-hospital-a": lease(NOW + 10)}
    book._look(NOW + 11)
    assert woken[1:] == [{"hospital-a"}]
    assert book.silos["hospital-a"].alive is True
    book._look(NOW + 51)
    assert woken[2:] == [{"hospital-a"}]
    assert book.silos["hospital-a"].alive is False
    del book._silos["hospital-b"]
    book._look(NOW + 52)
    assert woken[3:] == [{"hospital-b"}]


# ---- silos that were invited


def invited(until: float, *conditions: dict[str, Any]) -> dict[str, Any]:
    item = silo({"conditions": list(conditions)} if conditions else None)
    item["metadata"]["annotations"] = {names.INVITED_UNTIL: timestamp(until)}
    return item


JOINED = {"type": "Joined", "status": "True", "reason": "AgentRegistered", "message": ""}


@pytest.mark.parametrize(
    ("item", "heartbeat", "expected"),
    [
        (invited(NOW + 60), None, ("Unknown", "Invited")),
        (invited(NOW - 60), None, ("Unknown", "InvitationExpired")),
        (invited(NOW - 60, JOINED), None, ("Unknown", "NeverSeen")),
        (invited(NOW + 60), lease(), ("True", "AgentAlive")),
        (invited(NOW - 60), lease(), ("True", "AgentAlive")),
    ],
)
def test_an_invitation_is_shown_until_it_is_used(
    item: dict[str, Any], heartbeat: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    assert ready(status(item, heartbeat, NOW)) == expected


def test_what_the_join_service_says_in_a_status_is_no_reason_to_write_it_again() -> None:
    settled = status(invited(NOW + 60), lease(), NOW)
    item = invited(NOW + 60)
    item["status"] = {**settled, "conditions": [JOINED, *settled["conditions"]]}
    assert status(item, lease(), NOW + 1) == ours(item["status"])
