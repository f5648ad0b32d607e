"""A working copy of the repository for commands to be run in, with the environment that runs the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .text import ROOT, tracked

PATIENCE = 900.0  # seconds for one command
SCRIPTS = Path(sys.executable).parent
OUTER = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")  # of a make that runs the tests: a make in here is not a part of it
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in OUTER},
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PATH": f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
}


def working_copy(folder: Path) -> Path:
    """What a clone would hold, and the environment under the name it has there."""
    for path in tracked():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (folder / ".venv").symlink_to(SCRIPTS.parent)
    return folder


def shell(command: str, folder: Path) -> str:
    """What a command printed; it has to end with 0."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, f"{command}: exit code {ended.returncode}\n{ended.stdout}"
    return ended.stdout


def make(target: str, folder: Path, *, dry: bool) -> str:
    """``make`` without its set-up: the environment is the tests' own, and is not to be made again for a copy."""
    assert re.search(rf"^{target}:", (folder / "Makefile").read_text("utf-8"), re.MULTILINE), f"no target {target}"
    return shell(f"make {'-n ' if dry else ''}-o .venv/.run -o .venv/.dev {target}", folder)
