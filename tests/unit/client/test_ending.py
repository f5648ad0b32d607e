"""What a client leaves for its agent, and when it stops because another has taken over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from umbel.client import ending, fence
from umbel.client.files import write_tensors


def with_model(folder: Path, round_: int) -> Path:
    write_tensors(folder / "model.safetensors", {"w": np.zeros(2, np.float32)}, {"round": str(round_)})
    return folder


def test_a_report_says_the_outcome_and_the_final_model(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    ending.say_ended("Complete", with_model(tmp_path, 30), [report])
    assert json.loads(report.read_text()) == {"outcome": "Complete", "final": 30}
    assert [path.name for path in tmp_path.glob(".report*")] == []


def test_a_failed_job_leaves_no_model(tmp_path: Path) -> None:
    ending.say_ended("Failed", tmp_path, [tmp_path / "report.json"])
    assert json.loads((tmp_path / "report.json").read_text()) == {"outcome": "Failed", "final": None}


def test_a_report_that_cannot_be_written_hides_none_of_the_others(tmp_path: Path) -> None:
    ending.say_ended("Complete", tmp_path, [tmp_path / "none/report", tmp_path / "report"])
    assert (tmp_path / "report").exists()


def test_one_that_has_the_final_model_already_says_so_again(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert not ending.ended_before(tmp_path, [report])
    assert not report.exists()
    assert ending.ended_before(with_model(tmp_path, 7), [report])
    assert json.loads(report.read_text())["final"] == 7


@pytest.mark.parametrize(("text", "holds"), [("t-1", True), ("t-1\n", True), ("t-2", False), ("", False)])
def test_the_token_that_is_wanted(tmp_path: Path, text: str, holds: bool) -> None:
    (tmp_path / "token").write_text(text)
    assert fence.holds(tmp_path / "token", "t-1") == holds


def test_without_a_token_nobody_is_wanted_and_one_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert not fence.holds(tmp_path / "none", "t-1")
    assert fence.holds(tmp_path, "t-1")  # a folder: OSError, as of a file system that is away


async def test_taken_over_it_stops(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t-1")
    watching = asyncio.create_task(fence.until_taken_over(tmp_path / "token", "t-1", every=0.01))
    await asyncio.sleep(0.05)
    assert not watching.done()
    (tmp_path / "token").write_text("t-2")
    async with asyncio.timeout(30):
        await watching
