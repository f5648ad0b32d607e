"""The model outside the state directory: to where ``model.output.uri`` says, from where ``model.initial.uri`` says.

Object stores are fsspec's business; their credentials come from the environment, as each driver documents.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import fsspec

from umbel.server import files

OUTPUT, INITIAL = "spec.model.output.uri", "spec.model.initial.uri"
BLOCK_BYTES = 8 * 1024 * 1024


class OutputError(Exception):
    """One line: the field, the fault, the remedy."""


def export(model: Path, uri: str) -> None:
    """Copy the model file to a URI; it appears there whole or not at all. Raises OutputError."""
    try:
        if (local := _local(uri)) is not None:
            _copy(model, local)
        else:
            system, path = _driver(uri, OUTPUT)
            system.put_file(str(model), path)  # uploads in parts that become one object at the end
    except OutputError:
        raise
    except Exception as error:  # every driver raises its own
        raise OutputError(f"{OUTPUT}: cannot write {_plain(uri)}: {_why(error)}") from None


def fetch(uri: str) -> Path:
    """A local copy of a model file, in a temporary folder that is the caller's to remove. Raises OutputError."""
    folder = Path(tempfile.mkdtemp(prefix="umbel-initial-"))
    copy = folder / "model.safetensors"
    try:
        if (local := _local(uri)) is not None:
            shutil.copyfile(local, copy)
        else:
            system, path = _driver(uri, INITIAL)
            system.get_file(path, str(copy))
    except Exception as error:
        shutil.rmtree(folder)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{INITIAL}: cannot read {_plain(uri)}: {_why(error)}") from None
    return copy


def _local(uri: str) -> Path | None:
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri or "::" in uri else Path(uri)


def _copy(model: Path, target: Path) -> None:
    """Under a temporary name first; on disk, not only in the page cache, when it gets its own."""
    if target.is_dir():
        raise OutputError(f"{OUTPUT}: {target} is a folder; name a file in it")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with model.open("rb") as source, files.synced(temporary) as copy:
            shutil.copyfileobj(source, copy, BLOCK_BYTES)
        os.replace(temporary, target)
        files.sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _driver(uri: str, field: str) -> tuple[Any, str]:
    """(file system, path in it). Raises OutputError when the environment has no driver for the URI's scheme."""
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise OutputError(f"{field}: no driver for {_plain(uri)} ({_why(error)}); install it in the image") from None
    return system, str(path)


def _why(error: Exception) -> str:
    """One line of a driver's message."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _plain(" ".join(text.split()))[:300]


def _plain(text: str) -> str:
    """Without what an address may hold beside the place: a user's name and password, a signature."""
    return re.sub(r"(?<=//)[^/@\s]*@|\?\S+", "", text)
