"""What `umbel run` checks before it makes or starts anything: each fault one clear line."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from umbel.cli.errors import CliError
from umbel.client.eligibility.read import rules_of
from umbel.job import FederatedJob, load, resolve


def read_job(path: Path) -> FederatedJob:
    """The manifest, every default resolved. Raises JobError, and CliError for what a single machine cannot do."""
    if not path.is_file():
        raise CliError(f"{path}: no such file; name the manifest of a FederatedJob")
    job = resolve(load(path))
    if not job.spec.silos:
        raise CliError("spec.silos: is empty; `umbel run` starts a process for each silo, so list them by name")
    return job


def dataset_paths(options: Sequence[str], job: FederatedJob) -> dict[str, Path]:
    """``--data name=path`` of every dataset. Raises CliError for a name no silo has or a path nobody can read."""
    known = {silo.dataset for silo in job.spec.silos or ()}
    found: dict[str, Path] = {}
    for option in options:
        name, given, text = option.partition("=")
        if not given or not name or not text:
            raise CliError(f"--data {option}: not a name and a path; write --data NAME=PATH")
        if name not in known:
            listed = ", ".join(sorted(known)[:5]) + (", …" if len(known) > 5 else "")
            raise CliError(f"--data {option}: no silo's dataset is called {name!r}; the manifest has {listed}")
        found[name] = Path(text)
    check_readable(found)
    return found


def check_readable(paths: Mapping[str, Path]) -> None:
    for name, path in paths.items():
        if not path.exists():
            raise CliError(f"--data {name}={path}: no such file or folder")
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise CliError(f"--data {name}={path}: cannot be read; check its permissions")


def eligibility_files(options: Sequence[str], job: FederatedJob) -> dict[str, Path]:
    """``--eligibility silo=file`` of every silo. Raises CliError for no silo of the job, JobError for wrong rules."""
    known = {silo.name for silo in job.spec.silos or ()}
    found: dict[str, Path] = {}
    for option in options:
        name, given, text = option.partition("=")
        if not given or not name or not text:
            raise CliError(f"--eligibility {option}: not a silo and a file; write --eligibility SILO=FILE")
        if name not in known:
            raise CliError(f"--eligibility {option}: the manifest has no silo {name!r}")
        found[name] = Path(text).resolve()
    check_rules(found.values())
    return found


def check_rules(files: Iterable[Path]) -> None:
    """Raises JobError."""
    for file in files:
        rules_of(str(file))


def check_port(port: int) -> None:
    """Raises CliError when somebody else listens there, or this user may not. 0 is always free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Ports of connections that ended a moment ago are free again; a listener is in the way nevertheless.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            fault = "is in use by another process" if error.errno == errno.EADDRINUSE else f"{error.strerror}".lower()
            raise CliError(
                f"--port {port}: {fault}; choose another, or leave the option out for any free one"
            ) from error
