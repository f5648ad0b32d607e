"""Where the first model comes from: the last checkpoint, a file named in the job, or the app's `initial`.

The app is user code. It runs in a child process without data, so that neither its memory nor its mistakes are the
server's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import load_file
from safetensors import safe_open

from umbel.job import FederatedJob
from umbel.wire.layout import Array, Layout

INITIAL_SECONDS = 600


class BeginningError(Exception):
    """There is no initial model; the text says why in one line."""


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
            sys.executable, "-m", "umbel.client.initial", *arguments, stderr=asyncio.subprocess.PIPE
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
            last = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise BeginningError(f"spec.app.client: {job.spec.app.client} made no initial model: {last[0]}")
        return read_safetensors(out)


def read_safetensors(path: Path) -> tuple[dict[str, Array], list[str]]:
    """(arrays, names of buffers) of a model file of ours."""
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata() or {}
    return load_file(path), json.loads(metadata.get("buffers", "[]"))


def lay_out(arrays: dict[str, Array], buffers: list[str], local: list[str]) -> tuple[Layout, Layout]:
    """(layout of the model, layout of updates), less what stays in the silos. Raises LayoutError."""
    down = Layout.of(arrays, buffers)
    if local:
        down = down.without(local)
    return down, down.upward()
