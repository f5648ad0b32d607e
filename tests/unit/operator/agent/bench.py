"""Silos without a cluster in memory: a state directory, processes or a queue, and the passes of an agent over them.

A pass may be cut short anywhere, as when the agent is killed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.operator.agent.silo import KEY, federated_client, site_file

from umbel.wire.pki import Authority, silo_id
from umbel_operator.agent import federatedclient, site
from umbel_operator.agent.allowance import bounded
from umbel_operator.agent.approvals.decision import Answer
from umbel_operator.agent.backends.local.actions import Begin, Install, MakeKey, Note, Remove, RemoveSecrets, Retain
from umbel_operator.agent.backends.local.directory import Kept
from umbel_operator.agent.backends.local.holding import LocalHolding
from umbel_operator.agent.backends.local.records import Attempt, Owner
from umbel_operator.agent.backends.process.holding import ProcessHolding, Signal, Start
from umbel_operator.agent.backends.process.keeper import Exit, Sight
from umbel_operator.agent.backends.slurm.holding import Cancel, Jobs, SlurmHolding, Submit, name
from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Clocks, Plan
from umbel_operator.agent.policy import decide
from umbel_operator.agent.reconcile import farewell, reconcile, unread

Object = dict[str, Any]
ROOT = Path("/srv/umbel/clients")
PROCESS = {"python": "/srv/venv/bin/python", "appPath": ["/srv/code"], "environment": {"A": "b"}}
SLURM = {"python": "/srv/venv/bin/python", "partition": "fl"}
FINAL = '{"outcome": "Complete", "final": 30}'
LONG = 10_000.0


class Crash(Exception):
    """The agent is killed."""


class Bench:
    """What stays when the agent dies. `one_pass` with ``steps`` ends in its death after so many of them."""

    def __init__(self, ca: Path, site_: site.Site) -> None:
        self.authority = Authority.create(ca)
        self.site = site_
        self.fc = federated_client(authorities=self.authority.bundle.decode())
        self.folders: dict[Path, Kept] = {}
        self.now = time.time()  # certificates are signed by the real clock
        self.gone = False
        self.again: float | None = None
        self.answers: dict[str, Answer] = {}

    # ---- the hub

    def change(self, **spec: Any) -> None:
        self.fc["spec"] = {key: value for key, value in {**self.fc["spec"], **spec}.items() if value is not None}
        self.fc["metadata"]["generation"] += 1

    def sign(self) -> None:
        request = self.fc["status"]["certificateRequest"].encode()
        self.change(certificate=self.authority.sign_request(request, silo_id("umbel.local", "hospital-a")).decode())

    def said(self, type_: str) -> tuple[str, str]:
        found = {entry["type"]: entry for entry in self.fc["status"]["conditions"]}
        return found[type_]["status"], found[type_]["reason"]

    def words(self) -> str:
        return next(str(c["message"]) for c in self.fc["status"]["conditions"] if c["type"] == "Ready")

    # ---- the agent

    def holding(self, client: FederatedClient | None) -> LocalHolding:
        raise NotImplementedError

    def do(self, action: object, steps: Iterator[None]) -> None:
        raise NotImplementedError

    def plan(self) -> Plan:
        if self.gone:
            return farewell(self.holding(None))
        try:
            read = federatedclient.read(self.fc)
        except ValueError:
            return unread(self.holding(None))
        holding = self.holding(read)
        decision = bounded(read, decide(read, self.site, self.answers), self.site.policy, holding.begun, self.now)
        return reconcile(read, decision, holding, Clocks(self.now, self.now))

    def one_pass(self, steps: int | None = None) -> Plan:
        """Raises Crash. ``steps``: of what is done, each of which a death may follow."""
        left = _steps(steps)
        plan = self.plan()
        for action in plan.actions:
            self.do(action, left)
        if plan.status is not None:
            self.fc["status"] = plan.status
        self.again = plan.again
        return plan

    def settle(self, passes: int = 40) -> None:
        """Until nothing more is written, time going on as the passes ask."""
        for _ in range(passes):
            plan = self.one_pass()
            if not plan.writes and (plan.again is None or plan.again > LONG):
                return
            self.now += min(plan.again or 0.0, 400.0)
        raise AssertionError("the passes do not come to rest")

    def begin(self) -> None:
        """Key, certificate, and a client that runs."""
        self.one_pass()
        self.one_pass()
        self.sign()
        self.settle()

    # ---- the disk

    @property
    def only(self) -> Kept:
        (kept,) = self.folders.values()
        return kept

    def report(self, text: str) -> None:
        for folder, kept in self.folders.items():
            self.folders[folder] = replace(kept, report=text)

    def write(self, action: object, steps: Iterator[None]) -> None:
        match action:
            case MakeKey(folder, owner):
                before = self.folders.get(folder, Kept(folder, owner))
                self.folders[folder] = replace(before, owner=owner, key=KEY.decode(), certificate="", authorities="")
            case Install(folder, certificate, authorities):
                self._change(folder, certificate=certificate, authorities=authorities)
            case RemoveSecrets(folder):
                self._change(folder, key="", certificate="", authorities="")
            case Begin(folder, at):
                self._change(folder, begun=at)
            case Note(folder, attempt):
                self._change(folder, attempt=attempt)
            case Retain(folder, owner):
                self._change(folder, owner=replace(owner, retained=True))
            case Remove(folder):
                del self.folders[folder]
            case _:
                raise AssertionError(action)
        next(steps)

    def _change(self, folder: Path, **fields: Any) -> None:
        self.folders[folder] = replace(self.folders[folder], **fields)

    def home(self, client: FederatedClient | None) -> Path | None:
        return None if client is None else ROOT / Owner.of(client).folder


class Machine(Bench):
    """Processes, by the tokens of their attempts. ``stubborn``: they take no notice of TERM."""

    def __init__(self, ca: Path, **parts: Any) -> None:
        super().__init__(ca, site_file(**{"datasets": {"named": {}}, "process": PROCESS, **parts}))
        self.alive: list[str] = []
        self.exits: dict[str, Exit] = {}
        self.stubborn = False

    def holding(self, client: FederatedClient | None) -> ProcessHolding:
        sights = {k.folder: self.sight(k.attempt) for k in self.folders.values() if k.attempt is not None}
        return ProcessHolding(
            client, self.site, list(self.folders.values()), sights, self.home(client), {"PATH": "/bin"}, self.now
        )

    def sight(self, attempt: Attempt) -> Sight:
        alive = attempt.token in self.alive
        return Sight(alive, alive, self.exits.get(attempt.token))

    def do(self, action: object, steps: Iterator[None]) -> None:
        match action:
            case Start(folder, attempt, _, _):
                self.write(Note(folder, attempt), steps)
                self.alive.append(attempt.token)
                next(steps)
            case Signal(_, token, number):
                if token in self.alive and (number.name == "SIGKILL" or not self.stubborn):
                    self.end(token, 75 if number.name == "SIGTERM" else None)
                next(steps)
            case _:
                self.write(action, steps)

    def end(self, token: str, code: int | None) -> None:
        self.alive.remove(token)
        if code is not None:
            self.exits[token] = Exit(code, self.now)


class Queue(Bench):
    """A scheduler. ``loses``: what becomes of the next submissions: True, the answer is lost; "late": the job, too, is
    there only when `arrive` is called."""

    def __init__(self, ca: Path, **parts: Any) -> None:
        super().__init__(ca, site_file(**{"datasets": {"named": {}}, "slurm": SLURM, **parts}))
        self.jobs: list[BatchJob] = []
        self.history: dict[str, BatchJob] = {}
        self.late: list[BatchJob] = []
        self.loses: list[object] = []
        self.refuses = False
        self.relay = ""
        self._numbers = itertools.count(1)

    def holding(self, client: FederatedClient | None) -> SlurmHolding:
        jobs = Jobs(tuple(self.jobs), self.history, "umbel mark")
        folders, surroundings = list(self.folders.values()), {"PATH": "/bin"}
        return SlurmHolding(client, self.site, folders, jobs, self.home(client), surroundings, self.now, self.relay)

    def do(self, action: object, steps: Iterator[None]) -> None:
        match action:
            case Submit(folder, attempt, _, options):
                self.write(Note(folder, attempt), steps)
                job = BatchJob(
                    str(next(self._numbers)), "PENDING", options.name, options.comment, "Priority", submitted=self.now
                )
                if self.refuses:
                    self.write(Note(folder, replace(attempt, refused="SubmissionRefused", words="no")), steps)
                    return
                lost = self.loses.pop(0) if self.loses else False
                (self.late if lost == "late" else self.jobs).append(job)
                next(steps)
                if not lost:
                    self.write(Note(folder, replace(attempt, job=job.id)), steps)
            case Cancel(id):
                self.become(id, "CANCELLED")
                next(steps)
            case _:
                self.write(action, steps)

    def arrive(self) -> None:
        """What was submitted late begins; its script looks for its token first."""
        for job in self.late:
            attempt = next((k.attempt for k in self.folders.values()), None)
            wanted = attempt is not None and attempt.stopping is None
            mine = wanted and attempt is not None and name("hospital-a", attempt.token) == job.name
            self.jobs.append(replace(job, state="RUNNING" if mine else "FAILED", exit_code=None if mine else 75))
        self.late = []

    def become(self, id: str, state: str, **fields: Any) -> None:
        ended = self.now if state not in ("PENDING", "RUNNING") else None
        self.jobs = [replace(j, state=state, ended=ended, **fields) if j.id == id else j for j in self.jobs]

    @property
    def active(self) -> list[BatchJob]:
        return [job for job in self.jobs if job.state in ("PENDING", "RUNNING")]


def _steps(limit: int | None) -> Iterator[None]:
    for _ in itertools.count() if limit is None else range(limit):
        yield
    raise Crash
