"""The old content or the new, never something between."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from umbel.server import files

from . import disk


def test_content_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.replace(tmp_path / "a", b"old")
    files.replace(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


def test_a_failure_anywhere_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    seen = set()
    for n in itertools.count(1):
        files.replace(path, b"old")
        try:
            with disk.failing(monkeypatch, n, disk.no_space):
                files.replace(path, b"new")
        except OSError:
            seen.add(path.read_bytes())
            assert [p.name for p in tmp_path.iterdir()] == ["a"]
        else:
            break
    assert path.read_bytes() == b"new"
    assert seen <= {b"old", b"new"}
    assert b"old" in seen


def test_a_crash_anywhere_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in itertools.count(1):
        directory, left = tmp_path / f"{n}", tmp_path / f"{n}-left"
        directory.mkdir()
        files.replace(directory / "a", b"old")
        with disk.failing(monkeypatch, n, disk.copying(directory, left)) as counted:
            files.replace(directory / "a", b"new")
        if not counted.failed:
            break
        assert (left / "a").read_bytes() in (b"old", b"new")
    assert n == 5, "write, fsync, rename, fsync of the folder"


def test_a_file_is_synced_before_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk.failing(monkeypatch, 0, disk.broken) as counted:
        with files.synced(tmp_path / "a") as file:
            file.write(b"x")
            assert counted.operations == 1
        assert counted.operations == 2
