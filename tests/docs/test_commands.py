"""Every command of the pages does what it is there for, run as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from .copy import make, shell, working_copy
from .text import ROOT, Block, blocks, commands

pytestmark = pytest.mark.process

BY_HAND = ("openssl", "umbel server", "umbel client", "curl")  # in test_by_hand, together
NODES = ("recovery.py",)  # needs root, and Kubernetes nodes of its own
REALLY_MADE = ("run",)  # other targets are tests themselves, or take long: what they would do is looked at


def needs(block: Block, *words: str) -> bool:
    return any(word in block.text for word in words)


ELSEWHERE = [block for block in blocks("sh") if not needs(block, *BY_HAND, *NODES)]
ON_NODES = [block for block in blocks("sh") if needs(block, *NODES)]


@pytest.mark.parametrize("block", ELSEWHERE, ids=str)
def test_commands(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


@pytest.mark.cluster
@pytest.mark.parametrize("block", ON_NODES, ids=str)
def test_commands_on_nodes(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


def run(block: Block, tmp_path: Path) -> None:
    folder = working_copy(tmp_path)
    for command in commands(block):
        if command.startswith("make "):
            target = command.removeprefix("make ")
            said = make(target, folder, dry=target not in REALLY_MADE)
        else:
            said = shell(command, folder)
        if command == "make run":
            as_promised(said)
        elif " run " in command and "--dry-run" not in command:
            assert "\nComplete: " in said


def as_promised(said: str) -> None:
    """The end of `make run`, line for line but for its numbers."""
    (shown,) = [block for block in blocks("") if block.page == ROOT / "README.md"]
    lines = shown.text.splitlines()
    for line, printed in zip(lines, said.splitlines()[-len(lines) :], strict=True):
        assert line.split()[0] == printed.split()[0]


def test_every_target_of_make_is_one(tmp_path: Path) -> None:
    folder = working_copy(tmp_path)
    listed = [line.split()[0] for line in make("help", folder, dry=False).splitlines()]
    assert {"run", "test", "test-fast", "lint", "bench"} <= set(listed)
    for target in listed:
        make(target, folder, dry=True)
