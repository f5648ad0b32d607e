"""A training script in each framework, before and after: fewer than twenty lines are added, and both run."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import pytest

from .running import EXAMPLES, complete, execute

pytestmark = pytest.mark.process

LIMIT = 20
FOLDER = EXAMPLES / "frameworks"
PLAIN, HEAVY = ("numpy", "sklearn"), ("torch", "jax", "keras")
frameworks = pytest.mark.parametrize(
    "framework", [*PLAIN, *(pytest.param(name, marks=pytest.mark.frameworks) for name in HEAVY)]
)


def added(before: Path, after: Path) -> list[str]:
    lines = difflib.unified_diff(before.read_text().splitlines(), after.read_text().splitlines(), n=0, lineterm="")
    return [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]


def test_there_is_an_example_for_each() -> None:
    assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir()} == {*PLAIN, *HEAVY}


@pytest.mark.parametrize("framework", [*PLAIN, *HEAVY])
def test_fewer_than_twenty_lines_are_added(framework: str) -> None:
    lines = added(FOLDER / framework / "train.py", FOLDER / framework / "client.py")
    assert 0 < len(lines) < LIMIT, "\n".join(lines)


@frameworks
def test_the_script_before_runs(framework: str, tmp_path: Path) -> None:
    code, said = execute([sys.executable, FOLDER / framework / "train.py"], tmp_path)
    assert code == 0, said
    assert said.splitlines()[-1].startswith("10 "), "ten epochs, each with what it measured"


@frameworks
def test_the_script_after_runs_to_complete(framework: str, tmp_path: Path) -> None:
    run = complete(FOLDER / framework / "job.yaml", tmp_path / "run")
    assert len(run.committed) == 5
    assert run.accuracy[-1] > max(0.6, run.accuracy[0])
