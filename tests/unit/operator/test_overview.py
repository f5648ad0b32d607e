"""The hub on one screen: what is said, and what is made a warning."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from umbel_operator.cli import overview
from umbel_operator.cli.overview import Seen
from umbel_operator.hub import rotation

NOW = 1_800_000_000.0
DAY = 86_400.0
KEYS = rotation.new()


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def item(name: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "status": {"conditions": list(conditions)}}


WELL = Seen(
    heartbeat=NOW - 5,
    keys=KEYS,
    fault="",
    join_url="https://join.hub.example.org:8444",
    silos=[
        item("a", condition("Ready", "True", "AgentAlive")),
        item("b", condition("Ready", "True", "AgentAlive")),
        item("c", condition("Ready", "False", "Suspended")),
        item("d", condition("Ready", "Unknown", "Invited")),
    ],
    jobs=[item("one", condition("Complete", "True", "x")), item("two", condition("Progressing", "True", "Training"))],
)


def said(**changes: Any) -> str:
    return "\n".join(overview.lines(dataclasses.replace(WELL, **changes), NOW))


def test_a_hub_that_is_well_has_no_warning() -> None:
    text = said()
    assert "operator   alive, heard 5 s ago" in text
    assert "silos      1 Invited, 2 Ready, 1 Suspended" in text
    assert "jobs       1 Complete, 1 Training" in text
    assert "warning" not in text


def test_a_hub_where_nothing_is_yet() -> None:
    text = said(heartbeat=None, keys=None, join_url="", silos=[], jobs=[])
    assert "silos      none" in text
    assert "has never run" in text
    assert "the operator makes it" in text


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"heartbeat": NOW - 600}, "the operator does not write its heartbeat"),
        ({"silos": [item("e", condition("Ready", "Unknown", "AgentSilent", "does not report"))]}, "e: does not report"),
        ({"silos": [item("e", condition("TokenReused", "True", "x", "used again"))]}, "silo e: used again"),
        ({"jobs": [item("f", condition("Failed", "True", "Diverged", "loss"))]}, "job default/f: Diverged: loss"),
        ({"jobs": [item("f", condition("Reconciled", "False", "ApplyFailed", "no"))]}, "ApplyFailed: no"),
    ],
)
def test_what_needs_a_person_is_a_warning(changes: dict[str, Any], warned: str) -> None:
    assert warned in said(**changes)


def test_an_authority_that_ends_soon_is_a_warning() -> None:
    ends = KEYS.authority().certificate.not_valid_after_utc.timestamp()
    assert "umbel hub ca rotate" in "\n".join(overview.lines(WELL, ends - 30 * DAY))
    assert "umbel hub ca rotate" not in "\n".join(overview.lines(WELL, ends - 90 * DAY))


def test_a_rotation_says_when_it_goes_on() -> None:
    assert "rotation: Trusting, next step at 2027-01-15T09:00:00Z" in said(keys=rotation.begun(KEYS, 3600, NOW))


def test_it_stays_one_screen() -> None:
    silos = [item(f"s{n}", condition("Ready", "Unknown", "AgentSilent", "away")) for n in range(1000)]
    text = said(silos=silos)
    assert len(text.splitlines()) < 24
    assert "and 990 more like the last" in text
