"""A hub whose operator lets silos join, and the silos' agents, all against one API server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from agent.ordinary import ORDINARY
from cluster.federation import unasked
from umbel_cluster.api import Api
from umbel_cluster.processes import free_port

from umbel_operator import joining
from umbel_operator.agent import join, join_client
from umbel_operator.agent.join import Membership

from .hub import ROOT, UMBEL, until

IMAGE = "registry.example.org/acme/digits@sha256:" + "0" * 64


class Hub:
    """An operator with the rights that it is shipped with."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.join_url = ""
        self.http = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        join, http = free_port(), free_port()
        self.join_url, self.http = f"https://127.0.0.1:{join}", f"http://127.0.0.1:{http}"
        kubeconfig = self.api.kubeconfig_for("umbel-system", "umbel-operator")
        words = ["--kubeconfig", kubeconfig, "--http", f"127.0.0.1:{http}", "--join", f"127.0.0.1:{join}"]
        with (self.folder / "operator.log").open("ab") as log:
            self._process = subprocess.Popen([UMBEL, "hub", "run", *map(str, words)], stderr=log)
        until(lambda: self._tells(), "the operator tells where to join", told=self.log)

    def _tells(self) -> bool:
        told = self.api.kubectl("get", "cm", "umbel-join", "-n", "umbel-system", "--ignore-not-found", "-o", "yaml")
        return self.join_url in told

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def log(self) -> str:
        return (self.folder / "operator.log").read_text()[-4000:]

    def umbel(self, *words: Any, fails: bool = False) -> str:
        """What a command of the hub's administrator says; of one that ``fails``, its error."""
        command = [UMBEL, *map(str, words), "--kubeconfig", str(self.api.kubeconfig)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def invite(self, silo: str, *words: str) -> Path:
        path = self.folder / f"{silo}.bundle.yaml"
        self.umbel("silo", "invite", silo, "-o", path, *words)
        return path

    def silo(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.api.kubectl("get", "silo", name, "-o", "json")))

    def condition(self, silo: str, type_: str) -> dict[str, Any]:
        conditions = (self.silo(silo).get("status") or {}).get("conditions") or ()
        return next((entry for entry in conditions if entry["type"] == type_), {})

    def outcomes(self, metrics: str) -> dict[str, float]:
        """Of the join service's requests, that were any."""
        found = re.findall(r'fl_join_requests_total\{outcome="(\w+)"\} ([\d.]+)', metrics)
        return {outcome: float(number) for outcome, number in found if float(number)}


class Agent:
    """``state``: its folder. Whoever joins and runs it is an ordinary user. It runs plain processes, of which these
    tests start none."""

    def __init__(self, silo: str, folder: Path) -> None:
        self.silo = silo
        self.folder = folder / f"agent-{silo}"
        self.folder.mkdir(exist_ok=True)
        self.state = self.folder / "state"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def membership(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "membership.json").read_text()))

    def rewrite(self, **changes: Any) -> None:
        (self.state / "membership.json").write_text(json.dumps({**self.membership, **changes}))

    def join(self, bundle: Path, *, fails: bool = False, environment: dict[str, str] | None = None) -> str:
        command = [*ORDINARY, UMBEL, "agent", "join", bundle, "--state-dir", self.state]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env=environment)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if fails else done.stdout

    def kubeconfig(self) -> Path:
        path = self.folder / "kubeconfig"
        path.write_text(self.membership["kubeconfig"])
        return path

    def start(self, *words: Any) -> None:
        process = {"python": str(ROOT / ".venv/bin/python")}
        self._run(
            {"datasets": {"digits": {"path": str(ROOT)}}, "process": process},
            "process",
            "--state-dir",
            self.state,
            *words,
        )

    def start_as_in_a_pod(self, cluster: Path, bundle: Path, *words: Any) -> None:
        """With what it keeps in a Secret of a namespace of the silo's cluster."""
        where = ("--kubeconfig", cluster, "--namespace", self.silo, "--hub-secret", "membership")
        own = {"datasets": {"digits": {"volumeClaim": "digits"}}}
        self._run(own, "kubernetes", *where, "--join", bundle, *words)

    def _run(self, more: dict[str, Any], *words: Any) -> None:
        site = {"silo": self.silo, "policy": unasked("registry.*/*"), "retainState": False, **more}
        (self.folder / "site.yaml").write_text(yaml.safe_dump(site))
        command = [*ORDINARY, UMBEL, "agent", "run", "--site", self.folder / "site.yaml", "--backend", *words]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen([*map(str, command)], stderr=log)

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()[-4000:]

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


@contextmanager
def running(agent: Agent, *words: Any) -> Iterator[Agent]:
    agent.start(*words)
    try:
        yield agent
    finally:
        agent.stop()


def fresh(bundle: Path) -> Membership:
    return join.decide(None, joining.read_bundle(bundle), None)


def joined(bundle: Path, **changes: str) -> Membership:
    """By the agent's own code. ``changes``: of the bundle."""
    given = dataclasses.replace(joining.read_bundle(bundle), **changes)
    return asyncio.run(join_client.join(join.decide(None, given, None), given.token, time.time()))


def renewed(membership: Membership) -> Membership:
    return asyncio.run(join_client.renew(membership, time.time()))
