"""What is shown while a job runs."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from umbel.cli.running import progress, status


def record(number: int, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "round": number,
        "attempt": attempt,
        "outcome": "Committed",
        "invited": 10,
        "full": 9,
        "train": {"loss": 0.5},
        "evaluate": {"loss": 0.25, "accuracy": 0.9},
    } | more


def said(*history: dict[str, Any], **more: Any) -> status.Status:
    facts = {"phase": "Training", "round": 3, "total": 20, "members": 10, "connected": 9, "invited": 10}
    return status.parse(facts | {"secondsToDeadline": 41.6, "history": list(history)} | more)


def test_one_line_a_round_and_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = progress.Plain()
    plain.show(said(record(1)))
    plain.show(said(record(1)))
    plain.show(said(record(1), record(2)))
    assert capsys.readouterr().out.splitlines() == [
        "round 1/20   9/10 connected/invited   loss 0.25   accuracy 0.9",
        "round 2/20   9/10 connected/invited   loss 0.25   accuracy 0.9",
    ]


def test_a_resumed_run_tells_only_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    progress.Plain(told=(1, 1)).show(said(record(1), record(2)))
    assert capsys.readouterr().out.startswith("round 2/20")


def test_an_abandoned_attempt_says_why() -> None:
    rounds = progress.Rounds()
    now = said(record(1, outcome="Abandoned", reason="QuorumMissed", train={}, evaluate={}), record(1, 2))
    told = [progress.line(r, now) for r in rounds.new(now)]
    assert told[0].endswith("abandoned (QuorumMissed)")
    assert "abandoned" not in told[1]


def test_evaluation_is_shown_before_training() -> None:
    assert progress.metrics(said(record(1)).history[0]) == {"loss": 0.25, "accuracy": 0.9}
    assert progress.metrics(said(record(1, evaluate={})).history[0]) == {"loss": 0.5}


def test_quiet_shows_no_round_but_a_dead_process(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = progress.Quiet()
    quiet.show(said(record(1)))
    quiet.note("a was killed by SIGKILL")
    assert capsys.readouterr() == ("", "a was killed by SIGKILL\n")


def test_the_terminal_shows_round_members_deadline_and_metrics() -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(progress.render("digits", said(record(1), record(2, full=7, partial=1))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "digits",
        "Training",
        "round 3/20",
        "9/10 connected",
        "10 invited",
        "42 s",
        "0.2500",
        "0.9000",
        "8/10",
    ):
        assert part in text


def test_a_status_before_the_first_round_is_shown_too() -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(progress.render("digits", status.parse({"phase": "Gathering", "secondsToDeadline": None})))
    assert "Gathering" in console.file.getvalue()  # type: ignore[attr-defined]
