"""What was said to be on disk is there after a power cut: everything that was not fsynced is lost, names too."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from umbel.server.history import History
from umbel.server.lock import StateLock

from . import disk


class Platter:
    """Keeps what each fsync made durable: of a file its content, of a folder its names; nothing else survives."""

    def __init__(self, base: Path) -> None:
        self._base = os.stat(base).st_ino
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {self._base: {}}
        self._fsync = os.fsync

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        status, path = os.fstat(descriptor), f"/proc/self/fd/{descriptor}"
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path) as entries:
                self._names[status.st_ino] = {e.name: (e.inode(), e.is_dir(follow_symlinks=False)) for e in entries}
        else:
            self._contents[status.st_ino] = Path(path).read_bytes()

    def restore(self, to: Path, folder: int | None = None) -> None:
        """Make under ``to`` what is there after the power came back."""
        to.mkdir()
        for name, (inode, is_folder) in self._names.get(self._base if folder is None else folder, {}).items():
            if is_folder:
                self.restore(to / name, inode)
            else:
                (to / name).write_bytes(self._contents.get(inode, b""))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def platter(base: Path, monkeypatch: pytest.MonkeyPatch) -> Platter:
    made = Platter(base)
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


@pytest.fixture
def lock(base: Path, platter: Platter) -> Iterator[StateLock]:
    """A server's start on a new volume."""
    held = StateLock(base / "state")
    yield held
    held.release()


def test_a_saved_checkpoint_is_there_after_a_power_cut(
    base: Path, platter: Platter, lock: StateLock, tmp_path: Path
) -> None:
    store = disk.store(base / "state" / "checkpoints")
    for round in range(4):
        disk.save(store, round)
        left = tmp_path / f"left-{round}"
        platter.restore(left)
        loaded = disk.load(left / "state" / "checkpoints")
        assert (loaded.info.round, loaded.skipped) == (round, ())
        assert disk.agrees(loaded)


def test_a_state_that_was_replaced_is_there_after_a_power_cut(
    base: Path, platter: Platter, lock: StateLock, tmp_path: Path
) -> None:
    store = disk.store(base / "state" / "checkpoints")
    disk.save(store, 1)
    store.update_state({"engine": {"round": 1}, "released": True})
    platter.restore(tmp_path / "left")
    loaded = disk.load(tmp_path / "left" / "state" / "checkpoints")
    assert disk.agrees(loaded)
    assert loaded.state["released"] is True


@pytest.mark.parametrize("what", ["save", "state"])
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(
    base: Path, platter: Platter, lock: StateLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = disk.store(base / "state" / "checkpoints")
    disk.save(store, 0)
    for n in range(1, 1000):
        left = tmp_path / f"left-{n}"
        with disk.failing(monkeypatch, n, partial(platter.restore, left)) as counted:
            if what == "save":
                disk.save(store, n)
            else:
                store.update_state(state(n))
        if not counted.failed:
            break
        loaded = disk.load(left / "state" / "checkpoints")
        assert disk.agrees(loaded), f"step {n}"
        assert loaded.skipped == ()
        found = loaded.info.round if what == "save" else loaded.state.get("edit", 0)
        assert found in (n - 1, n), f"step {n}"
    assert n > 3


def state(edit: int) -> dict[str, object]:
    return {"engine": {"round": 0}, "edit": edit}


def test_an_epoch_is_never_given_twice(base: Path, platter: Platter, lock: StateLock, tmp_path: Path) -> None:
    platter.restore(tmp_path / "left")
    again = StateLock(tmp_path / "left" / "state")
    assert again.epoch == lock.epoch + 1
    again.release()


def test_an_appended_round_is_in_the_history_after_a_power_cut(
    base: Path, platter: Platter, lock: StateLock, tmp_path: Path
) -> None:
    history = History(base / "state" / "history.jsonl")
    records = [{"round": n, "attempt": 1, "outcome": "Committed", "started": float(n)} for n in range(3)]
    for record in records:
        history.append(record)
    platter.restore(tmp_path / "left")
    lines = (tmp_path / "left" / "state" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == records
