"""A whole job in virtual time: one server that may crash at any of its actions, and members that misbehave.

    outcome = simulate(job, seed=7)

raises Violation if a promise of `witness` is broken. The same arguments give the same course, event by event.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.simulation.disk import Disk
from umbel.simulation.faults import Faults
from umbel.simulation.members import Member
from umbel.simulation.server import Message, ServerCrash, SimulatedServer
from umbel.simulation.setting import Setting
from umbel.simulation.witness import Violation, Witness

A = TypeVar("A")
INTERRUPTION_SECONDS = 200.0  # between two chances of an interruption
CRASHES = 25  # at most; so that a job of many rounds still ends


@dataclass(frozen=True, slots=True)
class Outcome:
    phase: str  # Complete or Failed
    reason: str
    committed: int
    crashes: int
    refusals: int
    seconds: float  # virtual


class World:
    """Implements `members.Network`."""

    def __init__(self, job: FederatedJob, seed: int, faults: Faults) -> None:
        self.now = 0.0
        self.crashes = 0
        self._rng = random.Random(f"world/{seed}")
        self._faults = faults
        self._setting = Setting.of(job)
        self._disk = Disk(0, self._setting.initial.copy())
        self._witness = Witness(job, self._setting.down, self._setting.up, self._setting.initial)
        self._everybody = frozenset(s.name for s in job.spec.silos)
        self._names = self._everybody  # who is on the list now
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._entries = 0
        self._sessions = 0
        self._epoch = 0
        self._server: SimulatedServer | None = None
        self._working = False
        self._tick_at: float | None = None
        generators = {name: random.Random(f"{seed}/{name}") for name in sorted(self._everybody)}
        self._members = {name: Member(name, self, faults, self._setting.up, rng) for name, rng in generators.items()}

    # ---- what members use

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._entries, what))

    def next_session(self) -> int:
        self._sessions += 1
        return self._sessions

    def reach(self, what: Callable[[SimulatedServer], A]) -> A | None:
        server = self._server
        if server is None:
            return None
        try:
            answer = what(server)
        except ServerCrash:
            self._crashed()
            return None
        self._follow_up(server)
        return answer

    # ---- the server

    def _start(self) -> None:
        """It hears who belongs to the job a moment later, as after a restart in a cluster."""
        self._epoch += 1
        self._working, self._tick_at = False, None
        self._server = SimulatedServer(
            self._setting,
            self._disk,
            self._witness,
            epoch=self._epoch,
            clock=lambda: self.now,
            danger=self._danger,
            deliver=self._deliver,
        )
        self.reach(lambda server: server.feed(ev.Tick()))
        self.later(self._rng.uniform(0.0, 3.0), self._list_members)

    def _list_members(self) -> None:
        self.reach(lambda server: server.feed(ev.MembersChanged(self._names)))

    def _danger(self) -> None:
        if self.crashes < CRASHES and self._rng.random() < self._faults.crash:
            self.crashes += 1
            raise ServerCrash

    def _crashed(self) -> None:
        self._server = None
        for member in self._members.values():
            if member.session is not None:
                member.lost()
        self.later(self._rng.uniform(0.5, 10.0), self._start)
        self._witness.at(self.now, 0, False, False)

    def _deliver(self, message: Message) -> None:
        """After the call that it belongs to, as over a network."""
        if isinstance(message, do.Finish):
            for member in self._members.values():
                member.receive(message)
            return
        member = self._members[message.silo]
        self.later(0.001, lambda: member.receive(message) if message.session == member.session else None)

    def _follow_up(self, server: SimulatedServer) -> None:
        """Tick when the engine asks for it, work when there is some."""
        view = server.engine.view(self.now)
        self._witness.at(self.now, view.connected, view.phase == "Suspended", server.finished)
        wake = server.engine.wake_at
        if wake is not None and wake != self._tick_at:
            self._tick_at = wake
            self.later(max(0.0, wake - self.now), lambda: self._tick(server, wake))
        if server.has_work and not self._working:
            self._working = True
            self._disk.full = self._rng.random() < self._faults.disk_full
            self.later(self._rng.uniform(0.001, 1.0), lambda: self._work(server))

    def _tick(self, server: SimulatedServer, wake: float) -> None:
        if server is self._server and self._tick_at == wake:
            self._tick_at = None
            self.reach(lambda it: it.feed(ev.Tick()))

    def _work(self, server: SimulatedServer) -> None:
        if server is self._server:
            self._working = False
            self.reach(lambda it: it.work())

    # ---- the course

    def _interrupt(self) -> None:
        """Now and then the job is suspended, and a silo taken off the list and put back."""
        if self._rng.random() < self._faults.suspend:
            self._suspend(True)
            self.later(self._rng.uniform(1.0, 300.0), lambda: self._suspend(False))
        if self._rng.random() < self._faults.unlisted:
            self._list(self._names - {self._rng.choice(sorted(self._names))})
            self.later(self._rng.uniform(1.0, 300.0), lambda: self._list(self._everybody))
        self.later(INTERRUPTION_SECONDS, self._interrupt)

    def _suspend(self, suspend: bool) -> None:
        """As the operator does, over and over until the server has heard it."""

        def say(server: SimulatedServer) -> bool:
            server.feed(ev.Suspended() if suspend else ev.Resumed())
            return True

        if self.reach(say) is None and not suspend:
            self.later(5.0, lambda: self._suspend(False))

    def _list(self, names: frozenset[str]) -> None:
        self._names = names
        self._list_members()

    def run(self, limit: float) -> Outcome:
        """Until the job has ended. Raises Violation, also if it has not after ``limit`` virtual seconds."""
        self._start()
        self.later(INTERRUPTION_SECONDS, self._interrupt)
        for member in self._members.values():
            self.later(self._rng.uniform(0.0, 30.0), member.connect)
        while self._agenda and self.now <= limit:
            at, _, what = heapq.heappop(self._agenda)
            self.now = max(self.now, at)
            what()
            if self._server is not None and self._server.finished:
                return self._outcome(self._server)
        raise Violation(f"the job has not ended after {limit:.0f} s")

    def _outcome(self, server: SimulatedServer) -> Outcome:
        view = server.engine.view(self.now)
        return Outcome(view.phase, view.reason, view.round, self.crashes, self._witness.refusals, self.now)


def simulate(job: FederatedJob, *, seed: int, faults: Faults | None = None, limit: float | None = None) -> Outcome:
    """Run a resolved job. ``faults`` are drawn from the seed unless given; ``limit``: three times the job's deadline,
    since suspensions and crashes do not count against that. Raises Violation."""
    until = limit if limit is not None else 3.0 * job.spec.active_deadline_seconds
    return World(job, seed, faults if faults is not None else Faults.drawn(seed)).run(until)
