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
from collections.abc import Mapping
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
from umbel.wire.layout import Array, Layout

INITIAL_SECONDS = 600


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
    down = Layout.of(arrays, buffers)
    if local := list(job.spec.model.local_parameters):
        down = down.without(local)
    model = down.empty()
    down.pack({t.name: arrays[t.name] for t in down.tensors}, model)
    return Beginning(store, down, down.upward(), model)


def from_file(uri: str) -> tuple[dict[str, Array], list[str]]:
    """(arrays, names of buffers) of the model file at a URI. Raises OutputError or BeginningError."""
    path = output.fetch(uri)
    try:
        return read_safetensors(path)
    except SafetensorError as error:
        raise BeginningError(f"spec.model.initial.uri: {uri} is not a safetensors file ({error})") from None
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
            sys.stderr.buffer.write(stderr)  # the app's own words: no data has been near it
            lines = stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise BeginningError(lines[-1].removeprefix("umbel: "))
        return read_safetensors(out)


def read_safetensors(path: Path) -> tuple[dict[str, Array], list[str]]:
    """(arrays, names of buffers) of a model file of ours."""
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata() or {}
    return load_file(path), json.loads(metadata.get("buffers", "[]"))
