"""Where the programs are: built once per machine by hack/tools/build, or installed from packages."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


class ClusterError(Exception):
    """What is wrong, and what to do about it."""


def cache() -> Path:
    """What is kept between clusters and between checkouts."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UMBEL_CACHE") or Path(home) / "umbel")


@functools.cache
def built(name: str) -> Path:
    """The folder with the programs of hack/tools/NAME, built now if they are not there yet."""
    done = subprocess.run([CHECKOUT / "hack/tools/build", name], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ClusterError(f"hack/tools/build {name} failed")
    return Path(done.stdout.strip())


def kubernetes(program: str) -> str:
    return str(built("kubernetes") / program)


def installed(program: str) -> str:
    """A program of the distribution; those of root are found by everybody."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise ClusterError(f"{program} is not installed: run hack/setup cluster")
    return found
