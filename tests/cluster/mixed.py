"""Silos of the hub without a cluster of their own: two Slurm sites and a bare machine, all in the network of the hub's
cluster. They join as people do: invited, joined by the bundle, run from a site file."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from agent.federation import running as client_processes
from umbel_cluster.processes import until
from umbel_slurm import site as slurm_site
from umbel_slurm.processes import PATH
from umbel_slurm.site import Site

from .federation import IMAGE, PATIENCE, ROOT, UMBEL, Federation, Job, unasked

KUBERNETES, SECOND, DESK = "silo-1", "silo-2", "desk"
CENTRES = ("hpc-1", "hpc-2")
SILOS = (KUBERNETES, *CENTRES, DESK)
# The first centre has many images: it is among the last to have trained, so a preemption finds it at work.
PARTS = {KUBERNETES: 1, SECOND: 2, "hpc-1": 9, "hpc-2": 6, DESK: 5}
DATASETS = {silo: f"digits-{number}-of-10" for silo, number in PARTS.items()}
RUNTIME: dict[str, Any] = {
    "python": str(ROOT / ".venv/bin/python"),
    "appPath": [str(ROOT / "examples/digits")],
    "environment": {"OMP_NUM_THREADS": "1"},
}
SLURM = {"partition": "spare", "timeLimitSeconds": 1200, "termSeconds": 30}  # where jobs give way to those of `hi`


@dataclass
class Silo:
    """``slurm``: its site; None: it runs plain processes."""

    federation: Federation
    name: str
    slurm: Site | None = None

    @property
    def state(self) -> Path:
        return self.federation.folder / f"{self.name}.state"

    @property
    def membership(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "membership.json").read_text()))

    def join(self) -> None:
        bundle = self.federation.folder / f"{self.name}.bundle.yaml"
        self.federation.umbel("silo", "invite", self.name, "-o", bundle)
        command = [str(word) for word in (UMBEL, "agent", "join", bundle, "--state-dir", self.state)]
        done = subprocess.run(self.federation.hub.inside(command), capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        backend = "process" if self.slurm is None else "slurm"
        section = RUNTIME if self.slurm is None else {**RUNTIME, **SLURM}
        policy = unasked("registry.local/*")
        written = {"silo": self.name, "policy": policy, "datasets": {DATASETS[self.name]: {}}, backend: section}
        file = self.federation.folder / f"{self.name}.site.yaml"
        file.write_text(yaml.safe_dump(written))
        options = ["--site", file, "--backend", backend, "--state-dir", self.state]
        variables = {} if self.slurm is None else {**self.slurm.environment, "PATH": PATH}
        self.federation.spawn(self.federation.hub, self.name, "agent", "run", *options, variables=variables)

    def ended(self) -> bool:
        """Whether the agent has stopped."""
        process = self.federation.processes.get(self.name)
        return process is None or process.poll() is not None

    def clients(self) -> list[int]:
        """The processes of its clients."""
        return client_processes(self.state)

    def queue(self) -> list[str]:
        """Ids of the Slurm jobs that the silo has queued or running."""
        assert self.slurm is not None
        listed = self.slurm.run("squeue", "--me", "--noheader", "--format=%A %j").splitlines()
        return [line.split()[0] for line in listed if line.split()[1].startswith(f"umbel-{self.name}-")]

    def log(self, of: Job) -> str:
        """What its client says of the job."""
        return (self.folder(of) / "client.log").read_text()

    def folder(self, of: Job) -> Path:
        """Where it keeps what is of the job."""
        (found,) = (self.state / "clients").glob(f"*-{of.uid}")
        return found

    def idle(self) -> bool:
        """Nothing runs or waits to run for any job."""
        return not self.clients() and not (self.slurm and self.queue())


class Mixed:
    """``silos``: those that joined, by name; the one on Kubernetes is the federation's own."""

    def __init__(self, federation: Federation, sites: dict[str, Site]) -> None:
        self.federation = federation
        self.silos = {name: Silo(federation, name, sites.get(name)) for name in (*CENTRES, DESK)}

    def start(self) -> None:
        told = ("get", "cm", "umbel-join", "-n", "umbel-system", "--ignore-not-found", "-o", "name")
        until(lambda: bool(self.federation.hub.kubectl(*told).strip()), "where silos join", PATIENCE)
        for silo in self.silos.values():
            silo.join()
            silo.start()

    def stop(self) -> None:
        """The hub is left as it was found, and the machine too."""
        for name, silo in self.silos.items():
            until(silo.idle, f"{name}'s clients to end", PATIENCE)
            if self.federation.hub.kubectl("get", "silo", name, "--ignore-not-found", "-o", "name").strip():
                self.federation.umbel("silo", "remove", name)
            agent = self.federation.processes.pop(name)
            agent.terminate()
            agent.wait(PATIENCE)

    @contextlib.contextmanager
    def job(self, name: str, members: Sequence[str] = SILOS, *, epochs: int) -> Iterator[Job]:
        """The digits, for as long as the test wants."""
        silos = [{"name": silo, "dataset": DATASETS[silo]} for silo in members]
        rounds = {"total": 100_000, "quorum": 3, "gatherSeconds": 5, "timeoutSeconds": 120}
        config = {"epochs": epochs, "batchSize": 16, "learningRate": 0.01, "hidden": 32}
        app = {"image": IMAGE, "client": "client:app", "config": config}
        with self.federation.job(name, silos=silos, rounds=rounds, app=app) as job:
            yield job


@contextlib.contextmanager
def mixed(federation: Federation) -> Iterator[Mixed]:
    with contextlib.ExitStack() as stack:
        within = federation.hub.inside([])
        sites = {name: stack.enter_context(slurm_site.running(name, within=within)) for name in CENTRES}
        made = Mixed(federation, sites)
        stack.callback(made.stop)
        made.start()
        yield made
