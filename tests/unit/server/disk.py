"""A disk that fails at the nth thing asked of it, and what a crash right there would leave behind."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.server.checkpoint import CheckpointStore, Loaded
from umbel.wire.layout import Layout

UID, EPOCH = "uid-1", 3
LAYOUT = Layout.build(
    [
        ("weights", "float32", (3, 4), False),
        ("precise", "float64", (2,), False),
        ("mean", "float32", (4,), True),
        ("seen", "int64", (), True),
        ("empty", "float32", (0, 4), False),
        ("mask", "bool", (5,), False),
    ]
)


def model(seed: int) -> NDArray[np.uint8]:
    """Bytes that are a model of `LAYOUT`; booleans are 0 or 1."""
    buffer = LAYOUT.empty()
    generator = np.random.default_rng(seed)
    for name, view in LAYOUT.views(buffer).items():
        view[...] = generator.integers(0, 2, view.shape) if name == "mask" else generator.normal(0, 9, view.shape)
    return buffer


def store(directory: Path, uid: str = UID, epoch: int = EPOCH) -> CheckpointStore:
    return CheckpointStore(directory, uid, epoch)


def save(into: CheckpointStore, round: int) -> None:
    """A checkpoint in which everything says which round it is of."""
    into.save(round, model(round), LAYOUT, {"momentum": np.full(4, round, np.float64)}, {"engine": {"round": round}})


def load(directory: Path, epoch: int = EPOCH) -> Loaded:
    loaded = store(directory, epoch=epoch).load()
    assert loaded is not None
    return loaded


def agrees(loaded: Loaded) -> bool:
    """Whether model, strategy and state are of one and the same round."""
    round = loaded.info.round
    momentum = loaded.strategy_state["momentum"]
    return bool(
        loaded.layout == LAYOUT
        and np.array_equal(loaded.model, model(round))
        and np.array_equal(momentum, np.full(4, round))
        and loaded.state["engine"]["round"] == round
    )


class Disk:
    """Counts the operations that change it. Before the one numbered ``fail_at`` it calls ``strike``."""

    def __init__(self, fail_at: int, strike: Callable[[], None]) -> None:
        self.operations = 0
        self.failed = False
        self._fail_at = fail_at
        self._strike = strike

    def step(self) -> None:
        self.operations += 1
        if self.operations == self._fail_at:
            self.failed = True
            self._strike()


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextlib.contextmanager
def failing(monkeypatch: Any, fail_at: int, strike: Callable[[], None]) -> Iterator[Disk]:
    """Within the block fsync, rename, mkdir and every write to a file go through one `Disk`."""
    disk = Disk(fail_at, strike)
    real_open = builtins.open

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            disk.step()
            return real(*arguments, **keywords)

        return call

    def opened(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        file = real_open(path, mode, *arguments, **keywords)
        return Counted(file, disk) if mode == "wb" else file

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted(os.fsync))
        patch.setattr(Path, "rename", counted(Path.rename))
        patch.setattr(Path, "mkdir", counted(Path.mkdir))
        patch.setattr(Path, "open", opened)
        yield disk


class Counted:
    """A binary file whose writes are operations of a disk."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file = file
        self._disk = disk

    def write(self, data: Any) -> int:
        self._disk.step()
        return int(self._file.write(data))

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def copying(directory: Path, to: Path) -> Callable[[], None]:
    """A strike that keeps what a power cut at that moment would leave, and lets the process go on."""

    def strike() -> None:
        shutil.copytree(directory, to)

    return strike
