"""A round's record survives a restart as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.server.metric_names import STEPS
from umbel.server.records import PHASES, RoundRecord

from .things import record


def test_a_record_comes_back_from_the_state_file() -> None:
    made = record(3)
    again = RoundRecord.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert again.counts == made.counts


def test_what_was_handed_out_does_not_change_with_the_record() -> None:
    made = record()
    handed, before = made.to_json(), json.dumps(made.to_json())
    made.withhold({"repeated": 2})
    made.train["loss"] = made.evaluate["loss"] = 9.0
    made.seconds["release"] = 9.0
    assert json.dumps(handed) == before


def test_a_record_of_an_open_round_has_counts_of_nobody() -> None:
    data = RoundRecord(1, 1, 5.0).to_json()
    assert [data[name] for name in ("invited", "full", "partial", "declined", "timedOut", "lost")] == [0] * 6
    assert data["seconds"] == dict.fromkeys(PHASES, 0.0)


def test_phases_are_those_of_the_metric() -> None:
    assert PHASES == STEPS


def test_laps_add_up_to_the_time_that_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((10.0, 12.0, 12.5, 16.0))
    monkeypatch.setattr("umbel.server.records.time.monotonic", lambda: next(now))
    made = RoundRecord(1, 1, 0.0, mark=10.0)
    next(now)
    for phase in ("train", "close", "train"):
        made.lap(phase)
    assert (made.seconds["train"], made.seconds["close"]) == (2.0 + 3.5, 0.5)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3))))
def test_withheld_values_are_summed_by_reason(given_reasons: list[dict[str, int]]) -> None:
    made = RoundRecord(1, 1, 0.0)
    for reasons in given_reasons:
        made.withhold(reasons)
    assert sum(made.withheld.values()) == sum(sum(reasons.values()) for reasons in given_reasons)
    assert 0 not in made.withheld.values()
