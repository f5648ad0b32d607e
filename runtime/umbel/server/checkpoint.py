"""Checkpoints: a model, the strategy's state and the round engine's, on disk together or not at all.

One directory a checkpoint, ``checkpoint-<round>``, with ``model.safetensors``, ``strategy.safetensors`` and
``state.json``, which holds the SHA-256 of the other two and of itself. It is written under a temporary name, every file
fsynced, and renamed: what bears its final name is complete, and the digests find what a disk has spoiled since. The
previous one is kept. Between commits only ``state.json`` is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from umbel.server import files, tensors
from umbel.wire.layout import Array, Layout

FORMAT = 1
MODEL, STRATEGY, STATE = "model.safetensors", "strategy.safetensors", "state.json"
NAME = re.compile(r"checkpoint-(\d{6,})")
WRITE_FAULTS = ("disk_full", "io_error", "fenced", "unsupported_state")  # reasons that a write can fail for
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointError(Exception):
    """``reason``: one of `WRITE_FAULTS`, or other_job, newer_format, corrupt. The text says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    round: int
    path: Path  # of the model
    digest: str  # SHA-256 of the model file, hex
    written: float  # Unix time


@dataclass(frozen=True)
class Loaded:
    """``skipped``: names of newer checkpoints whose digests did not agree."""

    info: CheckpointInfo
    layout: Layout
    model: NDArray[np.uint8]
    strategy_state: dict[str, Array]
    state: dict[str, Any]
    skipped: tuple[str, ...]


class CheckpointStore:
    """``uid``: of the job; a directory that belongs to another one is refused. ``epoch``: of this server; once a later
    one has written here, this one cannot."""

    def __init__(self, directory: Path, uid: str, epoch: int = 0) -> None:
        self._directory = directory
        self._uid = uid
        self._epoch = epoch
        self._current: Path | None = None  # what this process wrote last, or loaded: not always the newest name
        directory.mkdir(parents=True, exist_ok=True)
        files.sync_directory(directory.parent)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what a crash left half done, and put back what it left aside."""
        for aside in self._directory.glob(".checkpoint-*.old"):
            whole = self._directory / aside.name.removeprefix(".").removesuffix(".old")
            if not whole.exists():
                aside.rename(whole)
        for leftover in self._directory.glob(".checkpoint-*"):
            shutil.rmtree(leftover)
        for leftover in self._directory.glob("checkpoint-*/.*.tmp"):
            leftover.unlink()

    # ---- writing

    def save(
        self,
        round: int,
        model: NDArray[np.uint8],
        layout: Layout,
        strategy_state: Mapping[str, Array],
        state: Mapping[str, Any],
    ) -> CheckpointInfo:
        """Raises CheckpointError; then the earlier checkpoints are as they were."""
        final = self._directory / f"checkpoint-{round:06d}"
        temporary = self._directory / f".{final.name}.tmp"
        try:
            self._check_fence()
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            digests = {MODEL: tensors.write_model(temporary / MODEL, layout, model)}
            if strategy_state:
                digests[STRATEGY] = tensors.write_arrays(temporary / STRATEGY, strategy_state)
            files.replace(temporary / STATE, self._sealed(round, digests, state))
            self._put_in_place(temporary, final)
        except OSError as error:
            raise _write_failure(error) from None
        except ValueError as error:
            raise CheckpointError("unsupported_state", f"the strategy's state cannot be stored: {error}") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._current = final
        self._prune(final)
        return CheckpointInfo(round, final / MODEL, digests[MODEL], time.time())

    def update_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state in the checkpoint that this process wrote last or loaded. Raises CheckpointError."""
        assert self._current is not None, "there is a checkpoint before there is a state to replace"
        try:
            self._check_fence()
            body = json.loads((self._current / STATE).read_bytes())
            files.replace(self._current / STATE, self._sealed(body["round"], body["sha256"], state))
        except OSError as error:
            raise _write_failure(error) from None

    def _sealed(self, round: int, digests: Mapping[str, str], state: Mapping[str, Any]) -> bytes:
        head = {"format": FORMAT, "uid": self._uid, "epoch": self._epoch, "round": round}
        body = {**head, "sha256": dict(digests), "state": dict(state)}
        return json.dumps({**body, "seal": _seal(body)}).encode()

    def _put_in_place(self, temporary: Path, final: Path) -> None:
        """Rename; one of the same round that is there steps aside until the new one is durable."""
        aside = self._directory / f".{final.name}.old"
        if final.exists():
            final.rename(aside)
        try:
            temporary.rename(final)
            files.sync_directory(self._directory)
        except OSError:
            with contextlib.suppress(OSError):
                if not temporary.exists():
                    final.rename(temporary)
            if aside.exists():
                aside.rename(final)
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def _check_fence(self) -> None:
        """Raises CheckpointError if a later server has taken the directory over: a lock that a network file system lost
        does not let two of them write."""
        for path in self._found()[-1:]:
            body = _body_of(path)
            if body is not None and body["epoch"] > self._epoch:
                raise CheckpointError("fenced", f"{self._directory} belongs to a server that started later")

    def _prune(self, newest: Path) -> None:
        """Keep the newest and the one before; drop what has a later name (spoiled, and now superseded)."""
        found = self._found()
        at = found.index(newest)
        for path in [*found[: max(0, at - 1)], *found[at + 1 :]]:
            shutil.rmtree(path, ignore_errors=True)

    # ---- reading

    def load(self) -> Loaded | None:
        """The newest complete checkpoint, None in an empty directory.

        Raises CheckpointError when there are checkpoints but none can be used: a job never silently starts anew.
        """
        skipped: list[str] = []
        for path in reversed(self._found()):
            if (loaded := self._read(path, tuple(skipped))) is not None:
                self._current = path
                return loaded
            skipped.append(path.name)
        if skipped:
            where = self._directory
            raise CheckpointError(
                "corrupt",
                f"no checkpoint in {where} agrees with its digests; restore one, or use a new state directory",
            )
        return None

    def _read(self, path: Path, skipped: tuple[str, ...]) -> Loaded | None:
        """None if the disk has spoiled it. Raises CheckpointError for what is whole but not to be used."""
        try:
            if (body := _body_of(path)) is None:
                return None
            self._check_owner(body)
            digests = {name: tensors.digest_of(path / name) for name in body["sha256"]}
            if digests != body["sha256"]:
                return None
            layout, model = tensors.read_model(path / MODEL)
            arrays = load_file(path / STRATEGY) if STRATEGY in digests else {}
            written = (path / STATE).stat().st_mtime
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EIO):
                return None
            raise CheckpointError("io_error", f"{path} cannot be read: {error.strerror}") from None
        info = CheckpointInfo(body["round"], path / MODEL, digests[MODEL], written)
        return Loaded(info, layout, model, arrays, body["state"], skipped)

    def _check_owner(self, body: Mapping[str, Any]) -> None:
        where = self._directory
        if body["format"] > FORMAT:
            raise CheckpointError("newer_format", f"{where} was written by a newer version of Umbel; run that version")
        if body["uid"] != self._uid:
            raise CheckpointError(
                "other_job", f"{where} belongs to job {body['uid']}, not to {self._uid}; use another state directory"
            )
        if body["epoch"] > self._epoch:
            raise CheckpointError(
                "fenced",
                f"{where} was written in epoch {body['epoch']}, and this server's is {self._epoch}: the epoch file is "
                f"lost; write {body['epoch']} into it",
            )

    def _found(self) -> list[Path]:
        """Checkpoints, oldest first."""
        numbered = ((NAME.fullmatch(path.name), path) for path in self._directory.iterdir())
        return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _body_of(path: Path) -> dict[str, Any] | None:
    """What a checkpoint's state file says; None if it is not there or its seal is broken. Raises OSError."""
    try:
        body = json.loads((path / STATE).read_bytes())
        seal = body.pop("seal")
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return body if seal == _seal(body) else None


def _write_failure(error: OSError) -> CheckpointError:
    if error.errno in FULL:
        return CheckpointError("disk_full", "the checkpoint could not be written: make room in the state directory")
    return CheckpointError("io_error", f"the checkpoint could not be written: {error.strerror or 'input/output error'}")
