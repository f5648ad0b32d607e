"""What one round of a job moves and how long it can take, as far as that can be known before it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umbel.cli.errors import CliError
from umbel.cli.units import in_bytes, in_seconds
from umbel.job import FederatedJob
from umbel.wire.layout import Layout

SLOW_LINK = 100e6 / 8  # bytes a second at 100 Mbit/s: a hospital's uplink rather than a data centre's


@dataclass(frozen=True, slots=True)
class ModelSize:
    """``down``: bytes of the model as broadcast; ``up``: bytes of one update. None: only the checkpoint knows."""

    tensors: int
    values: int
    down: int
    up: int


def model_size(job: FederatedJob, folder: Path) -> ModelSize | None:
    """Ask the app's `initial`, in a child process as the server does; None when the model comes from a checkpoint.

    Raises CliError with the child's last line when the client cannot be imported or `initial` fails.
    """
    if job.spec.model.initial.from_ != "App":
        return None
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "initial.safetensors"
        child = subprocess.run(
            [
                *(sys.executable, "-m", "umbel.client.initial", "--client", job.spec.app.client),
                *("--seed", str(job.spec.seed), "--config", json.dumps(dict(job.spec.app.config))),
                *("--local-parameters", json.dumps(list(job.spec.model.local_parameters))),
                *("--path", str(folder), "--out", str(file)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        if child.returncode != 0:
            said = child.stdout.decode("utf-8", "replace").strip().splitlines()
            fault = said[-1].removeprefix("umbel: ") if said else f"exit code {child.returncode}"
            raise CliError(fault if fault.startswith("spec.") else f"spec.app.client: {job.spec.app.client}: {fault}")
        return measure(file)


def measure(file: Path) -> ModelSize:
    """The sizes of the model in a safetensors file, from its header alone."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    layout = Layout.build((name, _dtype(t["dtype"]), tuple(t["shape"]), False) for name, t in tensors.items())
    return ModelSize(
        tensors=len(layout.tensors),
        values=sum(t.count for t in layout.tensors),
        down=layout.nbytes,
        up=layout.upward().nbytes,
    )


def _dtype(name: str) -> str:
    kinds = {"F": "float", "I": "int", "U": "uint"}
    return "bool" if name == "BOOL" else f"{kinds[name[0]]}{name[1:]}"


def estimate(job: FederatedJob, size: ModelSize | None) -> Iterator[str]:
    """What a round moves and how long it can take. Bounds are the manifest's; what training takes nobody knows yet."""
    rounds, evaluation = job.spec.rounds, job.spec.evaluation
    silos, updates = len(job.spec.silos or ()), rounds.updates or 0
    yield "A round, estimated:"
    if size is None:
        yield "  bytes: unknown until the checkpoint of spec.model.initial.uri is read"
    else:
        everybody = evaluation.every_rounds == 1
        receivers = silos if everybody else updates
        why = "every silo evaluates each model" if everybody else "at least; over-selection invites more"
        yield f"  model: {size.tensors} tensors, {size.values:,} values, {in_bytes(size.down)}"
        yield f"  down: {in_bytes(size.down * receivers)} ({receivers} silos, each new model once; {why})"
        yield f"  up: {in_bytes(size.up * updates)} ({updates} updates of {in_bytes(size.up)})"
        slow = (size.down + size.up) / SLOW_LINK
        yield f"  transfer: negligible on one machine; over a silo's link of 100 Mbit/s {in_seconds(slow)}"
    yield "  time: what training takes is not known beforehand; these bound it:"
    yield f"    opening: at once with {updates} silos connected, else up to {in_seconds(rounds.gather_seconds)}"
    grace = in_seconds(rounds.grace_seconds or 0)
    yield f"    training: at most {in_seconds(rounds.timeout_seconds)}; silos are told {grace} before"
    if evaluation.every_rounds:
        every = "every round" if evaluation.every_rounds == 1 else f"every {evaluation.every_rounds} rounds"
        yield f"    evaluation {every}: at most {in_seconds(evaluation.timeout_seconds)}"
    yield f"  the whole job: {rounds.total} rounds, at most {in_seconds(job.spec.active_deadline_seconds)}"
