"""What is read back from a server's history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from umbel.cli import records
from umbel.cli.errors import CliError


def write(path: Path, *rounds: object, tail: str = "") -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rounds) + tail)
    return path


def test_a_run_without_a_round_has_no_history(tmp_path: Path) -> None:
    assert records.read(tmp_path / "history.jsonl") == []


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "h", {"round": 1, "attempt": 1, "outcome": "Committed"}, tail='{"round": 2, "att')
    assert [r.round for r in records.read(path)] == [1]


def test_a_broken_line_elsewhere_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write(tmp_path / "h", {"round": 1}, "nonsense", {"round": 3})
    with pytest.raises(CliError, match="line 2"):
        records.read(path)


def test_a_round_released_twice_counts_once_with_its_last_word(tmp_path: Path) -> None:
    first = {"round": 1, "attempt": 1, "outcome": "Committed", "train": {"loss": 2.0}}
    path = write(tmp_path / "h", first, first | {"evaluate": {"loss": 1.5}})
    (record,) = records.read(path)
    assert record.evaluate == {"loss": 1.5}


def test_attempts_of_one_round_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "h",
        {"round": 1, "attempt": 1, "outcome": "Abandoned", "reason": "QuorumMissed"},
        {"round": 1, "attempt": 2, "outcome": "Committed"},
    )
    assert [(r.attempt, r.committed) for r in records.read(path)] == [(1, False), (2, True)]


def test_what_was_withheld_is_absent_not_zero() -> None:
    record = records.parse({"round": 1, "examples": None, "updateNorm": None, "train": {"loss": None}})
    assert (record.examples, record.update_norm, dict(record.train)) == (None, None, {})


def test_rejected_members_are_added_up_over_the_reasons() -> None:
    record = records.parse({"round": 1, "rejected": {"OUT_OF_RANGE": 1, "NOT_FINITE": 2}, "full": 4})
    assert (record.counts["rejected"], record.counts["full"], record.counts["lost"]) == (3, 4, 0)


def test_loss_is_the_first_metric() -> None:
    record = records.parse({"round": 1, "train": {"accuracy": 0.5, "loss": 1.0}, "evaluate": {"f1": 0.1}})
    assert records.metric_names([record]) == ["loss", "accuracy", "f1"]
