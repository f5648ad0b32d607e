"""The model outside the state directory: to where ``model.output.uri`` says, from where ``model.initial.uri`` says."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import fsspec


class OutputError(Exception):
    """One line: the field, the fault, the remedy."""


def _local(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(parts.path) if parts.scheme in ("", "file") else None


def export(model: Path, uri: str) -> None:
    """Copy the model file to a URI; a local copy appears whole or not at all. Credentials are the driver's own, from the
    environment. Raises OutputError."""
    try:
        if (local := _local(uri)) is not None:
            local.parent.mkdir(parents=True, exist_ok=True)
            temporary = local.with_name(f".{local.name}.tmp")
            shutil.copyfile(model, temporary)
            os.replace(temporary, local)
            return
        with model.open("rb") as source, fsspec.open(uri, "wb") as target:
            shutil.copyfileobj(source, target, 8 * 1024 * 1024)
    except (ImportError, ValueError) as error:
        raise OutputError(f"spec.model.output.uri: no driver for {uri} ({error}); install it in the image") from None
    except Exception as error:  # every driver raises its own
        raise OutputError(f"spec.model.output.uri: cannot write {uri}: {error}") from None


def fetch(uri: str) -> Path:
    """A local copy of a model file, in a temporary folder that is the caller's to remove. Raises OutputError."""
    folder = Path(tempfile.mkdtemp(prefix="umbel-initial-"))
    try:
        with fsspec.open(uri, "rb") as source, (folder / "model.safetensors").open("wb") as target:
            shutil.copyfileobj(source, target, 8 * 1024 * 1024)
    except Exception as error:
        shutil.rmtree(folder)
        raise OutputError(f"spec.model.initial.uri: cannot read {uri}: {error}") from None
    return folder / "model.safetensors"
