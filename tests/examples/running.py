"""`umbel run` of an example, exactly as a user types it, in a run directory of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
UMBEL = Path(sys.executable).with_name("umbel")
PATIENCE = 900.0  # seconds; a run that is still going by then hangs
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Run:
    """A run that has ended Complete."""

    path: Path
    said: str

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "server/state/history.jsonl").read_text().splitlines()]

    @property
    def committed(self) -> list[dict[str, Any]]:
        return [record for record in self.history if record["outcome"] == "Committed"]

    @property
    def accuracy(self) -> list[float]:
        """Released by evaluation, round by round."""
        return [record["evaluate"]["accuracy"] for record in self.committed]

    @property
    def model(self) -> dict[str, NDArray[Any]]:
        return load_file(self.path / "model.safetensors")

    @property
    def silos(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The final model that each silo stored, private part included."""
        folders = sorted((self.path / "silos").iterdir())
        return {folder.name: load_file(folder / "state/model.safetensors") for folder in folders}


def umbel(*arguments: str | Path, cwd: Path = ROOT) -> tuple[int, str]:
    """(exit code, everything it printed) of one command line."""
    return execute([UMBEL, *arguments], cwd)


def execute(command: list[str | Path], cwd: Path) -> tuple[int, str]:
    """Whatever ends this, a timeout too, kills the command; and what `umbel run` has started ends with it."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **ONE_THREAD},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return ended.returncode, ended.stdout


def complete(job: Path, out: Path) -> Run:
    """Run a manifest to its end, which has to be Complete."""
    code, said = umbel("run", job, "--out", out)
    log = out / "server.log"
    assert code == 0, f"exit code {code}:\n{said}\n{log.read_text()[-2000:] if log.exists() else ''}"
    assert "Complete: " in said
    run = Run(out, said)
    finite = all(np.isfinite(array).all() for array in run.model.values())
    assert finite
    assert (out / "report.html").stat().st_size > 0
    return run
