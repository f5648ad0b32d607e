"""Where the first model comes from: the last checkpoint, a file named in the job, or the app's `initial`.

The app is user code. It runs in a child process without data, so that neither its memory nor its mistakes are the
server's.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from umbel import lifeline
from umbel.job import FederatedJob
from umbel.server import output
from umbel.server.checkpoint import CheckpointInfo, CheckpointStore
from umbel.server.tensors import CODES
from umbel.wire.layout import DTYPES, Array, Layout, matches

INITIAL_SECONDS = 600
READABLE = tuple(CODES[name] for name in DTYPES)  # safetensors' names of what a model may hold


class BeginningError(Exception):
    """There is no initial model; the text says why in one line."""


@dataclass(frozen=True)
class Beginning:
    """What a server starts with. ``info`` None: this is the job's first start."""

    store: CheckpointStore
    down: Layout
    up: Layout
    model: NDArray[np.uint8]
    round: int = 0
    info: CheckpointInfo | None = None
    strategy_state: Mapping[str, Array] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


async def begin(job: FederatedJob, store: CheckpointStore, paths: list[str]) -> Beginning:
    """Raises BeginningError, LayoutError, CheckpointError or OutputError, each with one line for the user."""
    if (loaded := store.load()) is not None:
        return Beginning(
            store,
            loaded.layout,
            loaded.layout.upward(),
            loaded.model,
            loaded.info.round,
            loaded.info,
            loaded.strategy_state,
            loaded.state,
            loaded.skipped,
        )
    initial = job.spec.model.initial
    arrays, buffers = from_file(str(initial.uri)) if initial.from_ == "Checkpoint" else await from_app(job, paths)
    down = Layout.of(*shared(arrays, buffers, job.spec.model.local_parameters))
    model = down.empty()
    down.pack({t.name: arrays[t.name] for t in down.tensors}, model)
    return Beginning(store, down, down.upward(), model)


def shared(
    arrays: Mapping[str, Array], buffers: Iterable[str], local: Iterable[str]
) -> tuple[dict[str, Array], list[str]]:
    """Less what stays in the silos. Raises BeginningError when nothing is left."""
    patterns = list(local)
    left = {name: array for name, array in arrays.items() if not matches(name, patterns)}
    if arrays and not left:
        raise BeginningError("spec.model.localParameters matches every tensor; leave something to share")
    return left, [name for name in buffers if name in left]


def from_file(uri: str) -> tuple[dict[str, Array], list[str]]:
    """(arrays, names of buffers) of the model file at a URI. Raises OutputError or BeginningError."""
    path = output.fetch(uri)
    try:
        return read_safetensors(path)
    except SafetensorError as error:
        raise BeginningError(f"{output.INITIAL}: not a safetensors file ({error})") from None
    except ValueError as error:
        raise BeginningError(f"{output.INITIAL}: {error}") from None
    finally:
        shutil.rmtree(path.parent)


async def from_app(job: FederatedJob, paths: list[str]) -> tuple[dict[str, Array], list[str]]:
    """Run the app's `initial` in a child process: (arrays, names of buffers). Raises BeginningError."""
    with tempfile.TemporaryDirectory(prefix="umbel-initial-") as scratch:
        out = Path(scratch) / "initial.safetensors"
        arguments = [
            *("--client", job.spec.app.client),
            *("--seed", str(job.spec.seed)),
            *("--config", json.dumps(dict(job.spec.app.config))),
            *("--local-parameters", json.dumps(list(job.spec.model.local_parameters))),
            *(item for path in paths for item in ("--path", path)),
            *("--out", str(out)),
        ]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "umbel.client.initial", *arguments),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, lifeline.VARIABLE: str(os.getpid())},  # it ends with this process
        )
        try:
            _, stderr = await asyncio.wait_for(child.communicate(), INITIAL_SECONDS)
        except TimeoutError:
            raise BeginningError(f"the app's `initial` took longer than {INITIAL_SECONDS} s") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            raise BeginningError(_last_words(stderr.decode(errors="replace"), child.returncode))
        return read_safetensors(out)


def _last_words(stderr: str, status: int | None) -> str:
    """The fault in one line. What the child said before is the app's: no data has been near it."""
    before, found, said = f"\n{stderr}".rpartition("\numbel: ")
    print((before if found else said).removeprefix("\n"), end="", file=sys.stderr)
    if not found:
        return f"spec.app.client: the process that ran `initial` ended with status {status}"
    line = " ".join(said.split())
    return line if line.startswith("spec.") else f"spec.app.client: {line}"


def read_safetensors(path: Path) -> tuple[dict[str, Array], list[str]]:
    """(arrays, names of buffers). Raises SafetensorError, or ValueError for what cannot be a model."""
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata() or {}
        names = list(file.keys())
        for name in names:
            if (code := file.get_slice(name).get_dtype()) not in READABLE:
                raise ValueError(f"tensor {name!r} is {code}; convert it to F32, or to one of {', '.join(READABLE)}")
    arrays = load_file(path)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"tensor {name!r} holds a value that is not finite; mend the file")
    return arrays, _buffers(metadata.get("buffers", "[]"), names)


def _buffers(text: str, names: list[str]) -> list[str]:
    """Raises ValueError."""
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(name in names for name in listed):
        raise ValueError("its metadata `buffers` is no JSON list of its tensors' names; mend or remove it")
    return listed
