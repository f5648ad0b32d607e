"""The backend that `umbel agent run` names, made ready."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from umbel.cli.errors import CliError
from umbel_operator import kube
from umbel_operator.agent.approvals.store import ConfigMapStore, FolderStore, Store
from umbel_operator.agent.backends.base import Backend
from umbel_operator.agent.backends.kubernetes.backend import KubernetesBackend
from umbel_operator.agent.backends.local.directory import DirectoryError, StateDirectory
from umbel_operator.agent.backends.process.backend import ProcessBackend
from umbel_operator.agent.backends.slurm import gate
from umbel_operator.agent.backends.slurm.backend import SlurmBackend
from umbel_operator.agent.batch.slurm import Slurm
from umbel_operator.agent.site import BackendName, Site


@dataclass(frozen=True, slots=True)
class Place:
    """``silo``: the silo's own cluster, and ``namespace`` there, where there is one. ``approvals``: where the
    administrator is asked."""

    backend: Backend
    approvals: Store
    silo: kube.Kube | None = None
    namespace: str = ""


@asynccontextmanager
async def opened(
    name: BackendName, site: Site, *, kubeconfig: Path | None, namespace: str, state_dir: Path | None
) -> AsyncIterator[Place]:
    """Raises CliError, AccessError. ``site`` has been checked for this backend, and so has one section for it alone."""
    if name == "kubernetes":
        silo = kube.Kube.from_kubeconfig(kubeconfig) if kubeconfig else kube.Kube.in_cluster()
        try:
            here = namespace or silo.access.namespace
            yield Place(KubernetesBackend(silo, here, site.silo), ConfigMapStore(silo, here, site.silo), silo, here)
        finally:
            await silo.close()
        return
    directory = StateDirectory(state_dir or default_directory(site.silo))
    try:
        directory.hold()
    except DirectoryError as error:
        raise CliError(str(error)) from error
    try:
        async with _local(site, directory) as backend:
            yield Place(backend, FolderStore(directory.path))
    finally:
        directory.close()


def default_directory(silo: str) -> Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base) / "umbel" / silo


def check_options(name: BackendName, given: Mapping[str, object]) -> None:
    """Raises CliError for an option that means nothing to this backend."""
    own = ("--state-dir", "--kubeconfig", "--namespace", "--hub-secret") if name == "kubernetes" else ("--state-dir",)
    for option, value in given.items():
        if value and option not in own:
            raise CliError(f"{option}: means nothing to the backend {name}; leave it out")


@asynccontextmanager
async def _local(site: Site, directory: StateDirectory) -> AsyncIterator[Backend]:
    if site.process is not None:
        _executable("process.python", site.process.python)
        yield ProcessBackend(directory)
        return
    async with AsyncExitStack() as stack:
        relay = ""
        if site.slurm is not None and (wanted := site.slurm.relay) is not None:
            try:
                relay = await stack.enter_async_context(gate.opened(wanted, directory))
            except OSError as error:
                words = f"slurm.relay.listen: cannot listen at {wanted.listen} ({error.strerror or error})"
                raise CliError(f"{words}; name an address of this machine") from error
        yield SlurmBackend(directory, Slurm(), relay=relay)


def _executable(field: str, path: str) -> None:
    if not os.access(path, os.X_OK):
        raise CliError(f"{field}: {path} is no program here; name the python of a virtual environment with umbel")
