"""``history.jsonl``: every released round once, whatever was cut short."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbel.server import history as module
from umbel.server.history import History

from . import disk


def record(round: int, attempt: int = 1, outcome: str = "Committed") -> dict[str, Any]:
    return {"round": round, "attempt": attempt, "outcome": outcome, "started": 1000.5 + round, "note": "é" * 20}


def rounds(path: Path) -> list[tuple[int, int]]:
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b"", "the file ends with a whole line"
    return [(parsed["round"], parsed["attempt"]) for parsed in map(json.loads, lines)]


def test_a_new_history_is_an_empty_file(tmp_path: Path) -> None:
    History(tmp_path / "history.jsonl")
    assert (tmp_path / "history.jsonl").read_bytes() == b""


def test_records_are_appended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for round in (1, 2, 3):
        history.append(record(round))
    assert rounds(path) == [(1, 1), (2, 1), (3, 1)]
    assert json.loads(path.read_text().splitlines()[0]) == record(1)


def test_a_restart_changes_nothing_when_nothing_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for round in (1, 2, 3):
        history.append(record(round))
    before = path.read_bytes()
    History(path, [record(2), record(3)])
    assert path.read_bytes() == before


def test_a_round_that_the_state_knows_and_the_file_does_not_is_added(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    History(path).append(record(1))
    History(path, [record(1), record(2), record(3, attempt=2)])
    assert rounds(path) == [(1, 1), (2, 1), (3, 2)]


def test_attempts_of_one_round_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    kept = [record(1, 1, "Abandoned"), record(1, 2, "Abandoned"), record(1, 3)]
    History(path, kept[:1])
    History(path, kept)
    assert rounds(path) == [(1, 1), (1, 2), (1, 3)]


def test_a_lost_file_is_made_again_from_the_state(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    History(path, [record(8), record(9)]).append(record(10))
    assert rounds(path) == [(8, 1), (9, 1), (10, 1)]


@settings(max_examples=60)
@given(written=st.integers(1, 6), cut=st.integers(0, 400), kept=st.integers(1, 6))
def test_whatever_is_cut_off_the_end_comes_back_once(tmp_path: Path, written: int, cut: int, kept: int) -> None:
    path = tmp_path / "history.jsonl"
    path.unlink(missing_ok=True)
    all_of_them = [record(round) for round in range(1, written + 1)]
    history = History(path)
    for one in all_of_them:
        history.append(one)
    size = path.stat().st_size
    os.truncate(path, max(0, size - cut))
    whole = path.read_bytes().count(b"\n")
    for _ in range(2):
        History(path, all_of_them[-kept:])
    expected = [*range(1, whole + 1), *range(max(whole, written - min(kept, written)) + 1, written + 1)]
    assert [round for round, _ in rounds(path)] == expected


@pytest.mark.parametrize(
    "torn", [b'{"round": 2, "att', b"\x00\x00\x00\n", b"7\n", b"{}\n", b'"text"', b"\xff\xfe\n", b"\0" * 5000]
)
def test_a_torn_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "history.jsonl"
    History(path).append(record(1))
    with path.open("ab") as file:
        file.write(torn)
    history = History(path, [record(1)])
    assert rounds(path) == [(1, 1)]
    history.append(record(2))
    assert rounds(path) == [(1, 1), (2, 1)]


def test_a_long_history_is_read_only_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.jsonl"
    monkeypatch.setattr(module, "TAIL_BYTES", 256)
    everything = [record(round) for round in range(1, 101)]
    History(path, everything)
    with path.open("ab") as file:
        file.write(b'{"round"')
    History(path, everything[-20:]).append(record(101))
    assert [round for round, _ in rounds(path)] == list(range(1, 102))


def test_after_a_full_disk_the_next_append_brings_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.append(record(1))
    with disk.failing(monkeypatch, 1, disk.no_space), pytest.raises(OSError, match="space") as raised:
        history.append(record(2))
    assert raised.value.errno == errno.ENOSPC
    with path.open("ab") as file:
        file.write(b'{"round": 2, ')  # what a short write may leave
    history.append(record(3))
    assert rounds(path) == [(1, 1), (2, 1), (3, 1)]
