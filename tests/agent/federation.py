"""A job over silos without a cluster: a real API server, a real `umbel server`, a real agent for each silo.

The test plays the hub's operator: it asks, and signs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from cluster.federation import unasked
from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL as UMBEL_API

from umbel.wire import pki

ROOT = Path(__file__).parents[2]
UMBEL = ROOT / ".venv/bin/umbel"
DIGITS = ROOT / "examples/digits"
IMAGE = "registry.example.org/acme/example@sha256:" + "0" * 64
PATIENCE = 180.0
NUMBERS = itertools.count(1)

T = TypeVar("T")
Object = dict[str, Any]


def until(true: Callable[[], T | None], what: str, told: Callable[[], str] = lambda: "") -> T:
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s\n{told()}"
        time.sleep(0.1)
    return found


@dataclass
class Agent:
    """One silo's agent. ``options``: of `umbel agent run`. ``within``: words before its commands, which become the
    command itself."""

    silo: str
    folder: Path
    site: Object
    options: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def start(self) -> None:
        (self.folder / "site.yaml").write_text(yaml.safe_dump(self.site))
        command = [UMBEL, "agent", "run", "--site", self.folder / "site.yaml", "--hub", self.folder / "hub.kubeconfig"]
        command += ["--state-dir", self.state_dir, *self.options]
        with (self.folder / "agent.log").open("ab") as log:
            environment = {**os.environ, "SECRET_OF_THE_AGENT": "x", **self.environment}
            self.process = subprocess.Popen([*self.within, *map(str, command)], stderr=log, env=environment)

    def ask(self, *words: str) -> str:
        """What another command of the silo's administrator prints."""
        where = ["--site", self.folder / "site.yaml", "--state-dir", self.state_dir]
        backend = [option for option in self.options if option.startswith("--backend")]
        command = [*self.within, *map(str, (UMBEL, "agent", *words, *where, *backend))]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        file = self.folder / "agent.log"
        return file.read_text()[-4000:] if file.exists() else ""

    def folders(self) -> list[Path]:
        clients = self.state_dir / "clients"
        return sorted(clients.iterdir()) if clients.exists() else []

    def client_folder(self) -> Path:
        return until(lambda: next(iter(self.folders()), None), "a client's folder", self.log)


class Federation:
    """One job. ``silos``: names; ``example``: the folder of its manifest and its code; ``spec`` replaces whole fields.
    The silos' data sets are called `<job>-<number>-of-<silos>`."""

    def __init__(self, api: Api, folder: Path, silos: list[str], *, example: Path = DIGITS, **spec: Any) -> None:
        self.api = api
        self.example = example
        self.job = str(yaml.safe_load((example / "job.yaml").read_text())["metadata"]["name"])
        self.folder = folder
        self.silos = silos
        self.uid = f"uid-{os.getpid()}-{next(NUMBERS)}"
        self.authority = pki.Authority.create(folder / "ca")
        self.agents: dict[str, Agent] = {}
        self._spec = spec
        self._server: subprocess.Popen[bytes] | None = None
        self._signed: dict[str, str] = {}

    # ---- the hub

    def manifest(self) -> Object:
        job: Object = yaml.safe_load((self.example / "job.yaml").read_text())
        silos = [{"name": s, "dataset": f"{self.job}-{n}-of-{len(self.silos)}"} for n, s in enumerate(self.silos, 1)]
        job["metadata"]["namespace"] = "default"
        job["spec"] = {**job["spec"], "silos": silos, **self._spec}
        return job

    def serve(self) -> None:
        """Start the job's server, or start it again."""
        folder = self.folder
        if not (folder / "tls").exists():
            identity = pki.server_id("umbel.local", "default", self.job)
            self.authority.issue(folder / "tls", identity, [pki.server_name(self.job, "default")])
        (folder / "job.yaml").write_text(yaml.safe_dump(self.manifest()))
        (folder / "endpoints.json").unlink(missing_ok=True)
        options = {
            "--job": folder / "job.yaml",
            "--state": folder / "server",
            "--uid": self.uid,
            "--listen": "grpcs://127.0.0.1:0",
            "--tls": folder / "tls",
            "--admin": "127.0.0.1:0",
            "--http": "127.0.0.1:0",
            "--endpoints": folder / "endpoints.json",
            "--path": self.example,
        }
        words = [str(part) for pair in options.items() for part in pair]
        with (folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen([sys.executable, "-m", "umbel", "server", *words], stderr=log)
        until(lambda: (folder / "endpoints.json").exists(), "the server listens", self.server_log)

    @property
    def endpoints(self) -> Object:
        found: Object = json.loads((self.folder / "endpoints.json").read_text())
        return found

    def server_log(self) -> str:
        return (self.folder / "server.log").read_text()[-4000:]

    def server_exit(self) -> int | None:
        assert self._server is not None
        return self._server.poll()

    def rounds(self) -> int:
        """How many have been committed."""
        with urllib.request.urlopen(f"{self.endpoints['http']}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        lines = [line for line in text.splitlines() if line.startswith("fl_rounds_total{") and "committed" in line]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines)

    def add(
        self,
        silo: str,
        site: Object,
        *options: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Agent:
        """Register a silo at the hub, ask it for a client of the job, and start its agent."""
        folder = self.folder / silo
        folder.mkdir()
        command = [UMBEL, "silo", "add", silo, "--kubeconfig", self.api.kubeconfig]
        given = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        (folder / "hub.kubeconfig").write_bytes(given)
        (folder / "hub.kubeconfig").chmod(0o600)
        self.ask(silo)
        whole = {"silo": silo, "policy": unasked("registry.example.org/acme/*"), **site}
        agent = Agent(silo, folder, whole, list(options), environment or {}, within)
        self.agents[silo] = agent
        agent.start()
        return agent

    def ask(self, silo: str, **spec: Any) -> None:
        """The FederatedClient; ``spec`` replaces whole fields."""
        manifest = self.manifest()["spec"]
        entry = next(s for s in manifest["silos"] if s["name"] == silo)
        whole = {
            "job": {"name": self.job, "namespace": "default", "uid": self.uid},
            "silo": silo,
            "desiredState": "Running",
            "trustDomain": "umbel.local",
            "app": {"image": IMAGE, "client": manifest["app"]["client"]},
            "dataset": entry["dataset"],
            "privacy": {"minCohort": 3, "minExamples": 11},
            "activeDeadlineSeconds": 86_400,
            "server": {"url": self.endpoints["federation"], "name": pki.server_name(self.job, "default")},
            "authorities": self.authority.bundle.decode(),
            **spec,
        }
        obj = {
            "apiVersion": "umbel.dev/v1alpha1",
            "kind": "FederatedClient",
            "metadata": {"name": self.name(silo), "namespace": f"umbel-silo-{silo}"},
            "spec": whole,
        }
        self.api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(obj))

    def name(self, silo: str) -> str:
        return f"{self.job}-{silo}-{self.uid[-1]}"

    def change(self, silo: str, **spec: Any) -> None:
        self.api.kubectl(
            *("patch", "fc", self.name(silo), "-n", f"umbel-silo-{silo}", "--type=merge"),
            *("-p", json.dumps({"spec": spec})),
        )

    def delete(self, silo: str) -> None:
        self.api.kubectl("delete", "fc", self.name(silo), "-n", f"umbel-silo-{silo}")

    def client(self, silo: str) -> Object:
        """As the hub has it, signed if it asks for it."""
        path = f"{UMBEL_API}/namespaces/umbel-silo-{silo}/federatedclients/{self.name(silo)}"
        found = self.api.client.find(path)
        assert found is not None, path
        request = (found.get("status") or {}).get("certificateRequest") or ""
        if request and self._signed.get(silo) != request:
            uri = pki.silo_id("umbel.local", silo)
            pem = self.authority.sign_request(request.encode(), uri).decode()
            self.change(silo, certificate=pem)
            self._signed[silo] = request
        return found

    def condition(self, silo: str, type_: str) -> Object:
        conditions = (self.client(silo).get("status") or {}).get("conditions") or []
        return next((entry for entry in conditions if entry["type"] == type_), {})

    def await_condition(self, silo: str, type_: str, reason: str) -> Object:
        def there() -> Object | None:
            found = self.condition(silo, type_)
            return found if found.get("reason") == reason else None

        def told() -> str:
            return f"{self.condition(silo, type_)}\n{self.agents[silo].log()}"

        return until(there, f"{silo}: {type_} with {reason}", told)

    def close(self) -> None:
        for silo in self.agents:
            with contextlib.suppress(Exception):
                self.delete(silo)
        gone = time.monotonic() + 60
        for agent in self.agents.values():
            while running(agent.state_dir) and time.monotonic() < gone:
                time.sleep(0.1)
            agent.end()
        left = [pid for agent in self.agents.values() for pid in running(agent.state_dir)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._server is not None:
            self._server.kill()
            self._server.wait()


def running(state_dir: Path) -> list[int]:
    """The clients whose command line names this state directory."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
            if words and b"client" in words and any(str(state_dir).encode() in word for word in words):
                alive = (path / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                if alive and words[0] != b"/bin/sh":
                    found.append(int(path.name))
    return sorted(found)


def slurm_site(**more: Any) -> Object:
    shared = {"python": str(ROOT / ".venv/bin/python"), "appPath": [str(DIGITS)]}
    limits = {"timeLimitSeconds": 600, "termSeconds": 30}
    return {"slurm": {"partition": "fl", **shared, **limits, **more}}


def process_site() -> Object:
    return {
        "process": {
            "python": str(ROOT / ".venv/bin/python"),
            "appPath": [str(DIGITS)],
            "environment": {"OMP_NUM_THREADS": "1"},
        },
    }


@contextlib.contextmanager
def federation(
    api: Api, folder: Path, silos: list[str], *, example: Path = DIGITS, **spec: Any
) -> Iterator[Federation]:
    """Whatever happens, nothing of it runs afterwards."""
    api.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    found = Federation(api, folder, silos, example=example, **spec)
    try:
        found.serve()
        yield found
    finally:
        found.close()
