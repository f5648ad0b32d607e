"""Every command of the pages does what it is there for, run as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from .copy import make, shell, working_copy
from .text import ROOT, Block, blocks, commands

pytestmark = pytest.mark.process

BY_HAND = ("openssl", "umbel server", "umbel client", "curl")  # in test_by_hand, together
REALLY_MADE = ("run",)  # other targets are tests themselves, or take long: what they would do is looked at


@pytest.mark.parametrize("block", [b for b in blocks("sh") if not any(word in b.text for word in BY_HAND)], ids=str)
def test_commands(block: Block, tmp_path: Path) -> None:
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
