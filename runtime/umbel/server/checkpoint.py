"""Checkpoints: a model, the strategy's state and the round engine's, on disk together or not at all.

One directory a checkpoint, ``checkpoint-<round>``, with ``model.safetensors``, ``strategy.safetensors`` and
``state.json``, which holds the SHA-256 of the other two. It is written under a temporary name, every file fsynced, and
renamed: what bears its final name is complete, and the digests find what a disk has spoiled since. The previous one is
kept. Between commits only ``state.json`` is replaced.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from umbel.server import files
from umbel.wire.layout import Array, Layout

FORMAT = 1
BLOCK_BYTES = 4 * 1024 * 1024
CODES = {
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "bool": "BOOL",
}


class CheckpointError(Exception):
    """``reason``: disk_full, io_error, other_job or corrupt. The text says what to do."""

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


def header_of(layout: Layout) -> bytes:
    """The safetensors header of a flat buffer: the buffer itself is the file's data section."""
    buffers = [t.name for t in layout.tensors if t.buffer]
    header: dict[str, Any] = {"__metadata__": {"buffers": json.dumps(buffers)}}
    for t in layout.tensors:
        offsets = [t.offset, t.offset + t.nbytes]
        header[t.name] = {"dtype": CODES[t.dtype], "shape": list(t.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_model(path: Path, layout: Layout, model: NDArray[np.uint8]) -> str:
    """Write the buffer as safetensors without a copy of it; the file's SHA-256, hex."""
    digest = hashlib.sha256()
    view = model.data
    with files.synced(path) as file:
        for piece in (header_of(layout), *(view[i : i + BLOCK_BYTES] for i in range(0, len(view), BLOCK_BYTES))):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CheckpointStore:
    """``uid``: of the job; a directory that belongs to another one is refused."""

    def __init__(self, directory: Path, uid: str) -> None:
        self._directory = directory
        self._uid = uid
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(".checkpoint-*"):
            shutil.rmtree(leftover)

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
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            digests = {"model.safetensors": write_model(temporary / "model.safetensors", layout, model)}
            if strategy_state:
                path = temporary / "strategy.safetensors"
                save_file({name: np.ascontiguousarray(a) for name, a in strategy_state.items()}, path)
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
                digests[path.name] = digest_of(path)
            body = {"format": FORMAT, "uid": self._uid, "round": round, "sha256": digests, "state": dict(state)}
            files.replace(temporary / "state.json", json.dumps(body).encode())
            files.sync_directory(temporary)
            if final.exists():  # of an attempt that a spoiled newer one hid
                shutil.rmtree(final)
            temporary.rename(final)
            files.sync_directory(self._directory)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise _failure(error) from None
        self._prune(round)
        return CheckpointInfo(round, final / "model.safetensors", digests["model.safetensors"], time.time())

    def update_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state in the newest checkpoint. Raises CheckpointError."""
        newest = self._found()[-1]
        try:
            body = json.loads((newest / "state.json").read_bytes())
            body["state"] = dict(state)
            files.replace(newest / "state.json", json.dumps(body).encode())
        except OSError as error:
            raise _failure(error) from None

    def load(self) -> Loaded | None:
        """The newest complete checkpoint, None in an empty directory.

        Raises CheckpointError when there are checkpoints but none can be used: a job never silently starts anew.
        """
        skipped: list[str] = []
        for path in reversed(self._found()):
            if (loaded := self._read(path, tuple(skipped))) is not None:
                return loaded
            skipped.append(path.name)
        if skipped:
            raise CheckpointError(
                "corrupt",
                f"no checkpoint in {self._directory} agrees with its digests; restore one, or empty the folder",
            )
        return None

    def _read(self, path: Path, skipped: tuple[str, ...]) -> Loaded | None:
        try:
            body = json.loads((path / "state.json").read_bytes())
            digests = {name: digest_of(path / name) for name in body["sha256"]}
            if digests != body["sha256"] or "model.safetensors" not in digests:
                return None
            uid = body["uid"]
        except (OSError, ValueError, KeyError):
            return None
        if uid != self._uid:
            raise CheckpointError(
                "other_job", f"{self._directory} belongs to job {uid}, not to {self._uid}; use another state directory"
            )
        layout, model = read_model(path / "model.safetensors")
        strategy = path / "strategy.safetensors"
        arrays = load_file(strategy) if strategy.name in digests else {}
        info = CheckpointInfo(
            body["round"],
            path / "model.safetensors",
            digests["model.safetensors"],
            (path / "state.json").stat().st_mtime,
        )
        return Loaded(info, layout, model, arrays, body["state"], skipped)

    def _found(self) -> list[Path]:
        return sorted(self._directory.glob("checkpoint-*"), key=lambda p: int(p.name.removeprefix("checkpoint-")))

    def _prune(self, newest: int) -> None:
        """Keep the newest and the one before; drop what is newer than the newest (spoiled, and now superseded)."""
        found = self._found()
        numbers = [int(p.name.removeprefix("checkpoint-")) for p in found]
        at = numbers.index(newest)
        for path in [*found[: max(0, at - 1)], *found[at + 1 :]]:
            shutil.rmtree(path, ignore_errors=True)


def read_model(path: Path) -> tuple[Layout, NDArray[np.uint8]]:
    """Layout and flat buffer of a model file of ours."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        buffers = set(json.loads(header.pop("__metadata__")["buffers"]))
        names = {code: name for name, code in CODES.items()}
        tensors = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        layout = Layout.build((n, names[t["dtype"]], tuple(t["shape"]), n in buffers) for n, t in tensors)
        model = layout.empty()
        file.readinto(model.data)
    return layout, model


def _failure(error: OSError) -> CheckpointError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    text = error.strerror or "input/output error"
    return CheckpointError("disk_full" if full else "io_error", f"the checkpoint could not be written: {text}")
