"""Tensor files that are whole or not there: written to a temporary name, synced, renamed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from umbel.wire.layout import Array


def write_tensors(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Replace ``path`` by a safetensors file. Raises OSError; an older file then stays as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(dict(arrays), temporary, dict(metadata))
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """(arrays, metadata)."""
    with safe_open(str(path), framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
