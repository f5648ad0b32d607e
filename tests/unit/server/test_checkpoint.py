"""Checkpoints: together or not at all, whatever the disk does and whenever the process dies."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from umbel.server.checkpoint import CheckpointError

from . import disk

FILES = ("model.safetensors", "strategy.safetensors", "state.json")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def spoil(file: Path, at: int = -1) -> None:
    """One bit is not what it was."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


# ---- round trip


def test_an_empty_directory_has_no_checkpoint(tmp_path: Path) -> None:
    assert disk.store(tmp_path / "new" / "checkpoints").load() is None


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path), 7)
    loaded = disk.load(tmp_path)
    assert disk.agrees(loaded)
    assert (loaded.info.round, loaded.skipped) == (7, ())
    assert [t.name for t in loaded.layout.tensors if t.buffer] == [t.name for t in disk.LAYOUT.tensors if t.buffer]


def test_the_digest_is_that_of_the_model_file(tmp_path: Path) -> None:
    info = disk.store(tmp_path).save(1, disk.model(1), disk.LAYOUT, {}, {})
    assert disk.load(tmp_path).info.digest == info.digest
    assert hashlib.sha256(info.path.read_bytes()).hexdigest() == info.digest


def test_the_model_file_opens_with_the_safetensors_library(tmp_path: Path) -> None:
    info = disk.store(tmp_path).save(1, disk.model(1), disk.LAYOUT, {}, {})
    arrays = load_file(info.path)
    expected = disk.LAYOUT.views(disk.model(1))
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        assert np.array_equal(array, expected[name])


def test_without_strategy_state_there_is_no_file_for_it(tmp_path: Path) -> None:
    disk.store(tmp_path).save(1, disk.model(1), disk.LAYOUT, {}, {"a": 1})
    assert names(tmp_path / "checkpoint-000001") == ["model.safetensors", "state.json"]
    assert disk.load(tmp_path).strategy_state == {}


def test_files_are_for_the_owner_only_under_the_server_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        disk.save(disk.store(tmp_path / "state"), 1)
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "state").rglob("*"))


# ---- which are kept


def test_the_previous_one_is_kept_and_older_ones_go(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    for round in range(5):
        disk.save(store, round)
    assert names(tmp_path) == ["checkpoint-000003", "checkpoint-000004"]


def test_rounds_are_ordered_by_number(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    for round in (999_999, 1_000_000):
        disk.save(store, round)
    assert disk.load(tmp_path).info.round == 1_000_000


def test_what_else_lies_in_the_directory_is_left_alone(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path), 1)
    (tmp_path / "checkpoint-backup").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert disk.load(tmp_path).info.round == 1
    assert {"checkpoint-backup", "notes.txt"} <= set(names(tmp_path))


# ---- the state between commits


def test_the_state_is_replaced_and_the_model_stays(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    disk.save(store, 4)
    store.update_state({"engine": {"round": 4}, "released": True})
    loaded = disk.load(tmp_path)
    assert disk.agrees(loaded)
    assert loaded.state["released"] is True


def test_the_state_goes_to_the_checkpoint_that_was_loaded_not_to_a_spoiled_newer_one(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    disk.save(store, 1)
    disk.save(store, 2)
    spoil(tmp_path / "checkpoint-000002" / "model.safetensors")
    resumed = disk.store(tmp_path)
    assert resumed.load() is not None
    resumed.update_state({"engine": {"round": 1}, "released": True})
    assert disk.load(tmp_path).state == {"engine": {"round": 1}, "released": True}


# ---- a failing disk


def save_second(directory: Path) -> Callable[[], None]:
    store = disk.store(directory)
    store.load()
    return lambda: disk.save(store, 2)


def update(directory: Path) -> Callable[[], None]:
    store = disk.store(directory)
    store.load()
    return lambda: store.update_state({"engine": {"round": 1}, "new": True})


def operations_of(work: Callable[[Path], Callable[[], None]], directory: Path, monkeypatch: Any) -> int:
    """How often ``work`` turns to the disk when nothing fails."""
    disk.save(disk.store(directory), 1)
    act = work(directory)
    with disk.failing(monkeypatch, 0, disk.broken) as counted:
        act()
    assert counted.operations > 3
    return counted.operations


@pytest.mark.parametrize(("strike", "reason"), [(disk.broken, "io_error"), (disk.no_space, "disk_full")])
def test_a_save_that_fails_anywhere_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strike: Callable[[], None], reason: str
) -> None:
    for n in range(1, operations_of(save_second, tmp_path / "whole", monkeypatch) + 1):
        directory = tmp_path / f"{n}"
        disk.save(disk.store(directory), 1)
        act = save_second(directory)
        with disk.failing(monkeypatch, n, strike), pytest.raises(CheckpointError) as raised:
            act()
        assert raised.value.reason == reason
        assert "\n" not in str(raised.value)
        loaded = disk.load(directory)
        assert (loaded.info.round, loaded.skipped) == (1, ()), f"operation {n}"
        assert disk.agrees(loaded)
        assert names(directory) == ["checkpoint-000001"]


def test_the_same_store_saves_again_once_the_disk_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1, operations_of(save_second, tmp_path / "whole", monkeypatch) + 1):
        directory = tmp_path / f"{n}"
        disk.save(disk.store(directory), 1)
        act = save_second(directory)
        with disk.failing(monkeypatch, n, disk.broken), pytest.raises(CheckpointError):
            act()
        act()
        assert disk.load(directory).info.round == 2, f"operation {n}"


@settings(max_examples=25)
@given(faults=st.lists(st.integers(1, 16), min_size=1, max_size=5))
def test_the_newest_good_round_survives_any_sequence_of_failures(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, faults: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("state")
    store = disk.store(directory)
    disk.save(store, 0)
    committed = 0
    for round, n in enumerate(faults, start=1):
        try:
            with disk.failing(monkeypatch, n, disk.broken):
                disk.save(store, round)
        except CheckpointError:
            pass
        else:
            committed = round
        loaded = disk.load(directory)
        assert loaded.info.round == committed
        assert disk.agrees(loaded)


def test_an_update_of_the_state_that_fails_anywhere_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(1, operations_of(update, tmp_path / "whole", monkeypatch) + 1):
        directory = tmp_path / f"{n}"
        disk.save(disk.store(directory), 1)
        act = update(directory)
        with disk.failing(monkeypatch, n, disk.no_space), pytest.raises(CheckpointError, match="make room"):
            act()
        loaded = disk.load(directory)
        assert disk.agrees(loaded)
        assert loaded.state in ({"engine": {"round": 1}}, {"engine": {"round": 1}, "new": True})


# ---- a crash


@pytest.mark.parametrize("work", [save_second, update])
def test_a_crash_at_any_step_leaves_one_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path], Callable[[], None]]
) -> None:
    for n in range(1, operations_of(work, tmp_path / "whole", monkeypatch) + 1):
        directory, left = tmp_path / f"{n}", tmp_path / f"{n}-left"
        disk.save(disk.store(directory), 1)
        act = work(directory)
        with disk.failing(monkeypatch, n, disk.copying(directory, left)) as counted:
            act()
        assert counted.failed
        loaded = disk.load(left)
        assert disk.agrees(loaded), f"operation {n}"
        assert loaded.skipped == ()
        leftovers = [path for path in left.rglob("*") if path.name.startswith(".")]
        assert leftovers == []


def test_a_crash_while_a_round_is_saved_again_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spoiled newer checkpoint hid its round: the round is done again, over what is left of it."""
    for n in itertools.count(1):
        directory, left = tmp_path / f"{n}", tmp_path / f"{n}-left"
        store = disk.store(directory)
        disk.save(store, 1)
        disk.save(store, 2)
        spoil(directory / "checkpoint-000002" / "model.safetensors")
        act = save_second(directory)
        with disk.failing(monkeypatch, n, disk.copying(directory, left)) as counted:
            act()
        if not counted.failed:
            break
        assert disk.agrees(disk.load(left)), f"operation {n}"
        assert disk.load(directory).info.round == 2
    assert n > 4


def test_a_crash_while_the_only_checkpoint_is_saved_again_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in itertools.count(1):
        directory, left = tmp_path / f"{n}", tmp_path / f"{n}-left"
        store = disk.store(directory)
        disk.save(store, 1)
        with disk.failing(monkeypatch, n, disk.copying(directory, left)) as counted:
            disk.save(store, 1)
        if not counted.failed:
            break
        loaded = disk.load(left)
        assert loaded.info.round == 1, f"operation {n}"
        assert disk.agrees(loaded)
        assert names(left) == ["checkpoint-000001"]
    assert n > 4


# ---- a spoiled disk


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["first bit", "last bit", "middle bit", "shorter", "empty", "gone"])
def test_a_spoiled_newest_checkpoint_is_skipped(tmp_path: Path, file: str, how: str) -> None:
    store = disk.store(tmp_path)
    disk.save(store, 1)
    disk.save(store, 2)
    path = tmp_path / "checkpoint-000002" / file
    size = path.stat().st_size
    if how == "gone":
        path.unlink()
    elif how.endswith("bit"):
        spoil(path, {"first bit": 0, "last bit": size - 1, "middle bit": size // 2}[how])
    else:
        os.truncate(path, size - 1 if how == "shorter" else 0)
    loaded = disk.load(tmp_path)
    assert (loaded.info.round, loaded.skipped) == (1, ("checkpoint-000002",))
    assert disk.agrees(loaded)


def test_a_number_changed_in_the_state_is_noticed(tmp_path: Path) -> None:
    """JSON that still parses is no proof: the state's own digest is."""
    store = disk.store(tmp_path)
    disk.save(store, 1)
    disk.save(store, 2)
    path = tmp_path / "checkpoint-000002" / "state.json"
    body = json.loads(path.read_text())
    body["state"]["engine"]["round"] = 3
    path.write_text(json.dumps(body))
    assert disk.load(tmp_path).skipped == ("checkpoint-000002",)


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"seal": 1}', "\xff"])
def test_a_state_file_of_another_kind_is_spoiled(tmp_path: Path, content: str) -> None:
    store = disk.store(tmp_path)
    disk.save(store, 1)
    disk.save(store, 2)
    (tmp_path / "checkpoint-000002" / "state.json").write_text(content, encoding="latin-1")
    assert disk.load(tmp_path).info.round == 1


def test_nothing_usable_is_an_error_and_never_a_new_beginning(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    for round in (1, 2):
        disk.save(store, round)
        spoil(tmp_path / f"checkpoint-{round:06d}" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* agrees with its digests; restore one") as raised:
        disk.store(tmp_path).load()
    assert raised.value.reason == "corrupt"
    assert "\n" not in str(raised.value)


def test_the_next_save_supersedes_a_spoiled_one(tmp_path: Path) -> None:
    store = disk.store(tmp_path)
    for round in (1, 2, 3):
        disk.save(store, round)
    spoil(tmp_path / "checkpoint-000003" / "state.json")
    resumed = disk.store(tmp_path)
    assert resumed.load() is not None
    disk.save(resumed, 3)
    loaded = disk.load(tmp_path)
    assert (loaded.info.round, loaded.skipped) == (3, ())
    assert names(tmp_path) == ["checkpoint-000002", "checkpoint-000003"]


# ---- whose it is


def test_a_directory_of_another_job_is_refused(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path, uid="first"), 1)
    with pytest.raises(CheckpointError, match="belongs to job first, not to second; use another") as raised:
        disk.store(tmp_path, uid="second").load()
    assert raised.value.reason == "other_job"


def test_a_format_of_a_newer_version_is_refused_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = disk.store(tmp_path)
    disk.save(store, 1)
    with monkeypatch.context() as patch:
        patch.setattr("umbel.server.checkpoint.FORMAT", 2)
        disk.save(store, 2)
    with pytest.raises(CheckpointError, match="newer version") as raised:
        disk.store(tmp_path).load()
    assert raised.value.reason == "newer_format"


def test_an_older_server_cannot_write_once_a_later_one_has(tmp_path: Path) -> None:
    older = disk.store(tmp_path, epoch=1)
    disk.save(older, 1)
    later = disk.store(tmp_path, epoch=2)
    assert later.load() is not None
    disk.save(later, 2)
    writes: list[Callable[[], None]] = [lambda: disk.save(older, 3), lambda: older.update_state({})]
    for write in writes:
        with pytest.raises(CheckpointError) as raised:
            write()
        assert raised.value.reason == "fenced"
    assert disk.load(tmp_path).info.round == 2


def test_a_lost_epoch_file_is_said(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path, epoch=9), 1)
    with pytest.raises(CheckpointError, match="epoch"):
        disk.store(tmp_path, epoch=1).load()


# ---- leftovers


def test_leftovers_of_a_crash_are_removed_at_start(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path), 1)
    shutil.copytree(tmp_path / "checkpoint-000001", tmp_path / ".checkpoint-000002.tmp")
    (tmp_path / "checkpoint-000001" / ".state.json.tmp").write_text("{")
    disk.store(tmp_path)
    assert names(tmp_path) == ["checkpoint-000001"]
    assert names(tmp_path / "checkpoint-000001") == sorted(FILES)
