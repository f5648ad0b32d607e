"""A round engine on a stage: virtual time, and the events that members and the shell send, in one line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from umbel.job import FederatedJob, parse, resolve
from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.rounds.engine import Engine

A = TypeVar("A")


def job(silos: int = 4, **spec: Any) -> FederatedJob:
    """Four silos s0 … s3 by default, two rounds of 100 s (grace 10 s), gathering 60 s, quorum 3; ``spec`` over it."""
    base: dict[str, Any] = {
        "app": {"client": "demo.client:app"},
        "rounds": {"total": 2, "timeoutSeconds": 100, "quorum": 3, **spec.pop("rounds", {})},
        "silos": [{"name": f"s{i}", "dataset": "d"} for i in range(silos)],
        **spec,
    }
    manifest = {"apiVersion": "umbel.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": "demo"}, "spec": base}
    return resolve(parse(manifest))


class Play:
    """``done`` is every action so far. Members declare 10 examples unless told otherwise."""

    def __init__(
        self,
        the_job: FederatedJob | None = None,
        *,
        snapshot: Mapping[str, Any] | None = None,
        epoch: int = 1,
        members: frozenset[str] | str | None = "manifest",
        now: float = 1000.0,
    ) -> None:
        self.job = the_job or job()
        self.now = now
        self.epoch = epoch
        known = frozenset(s.name for s in self.job.spec.silos) if isinstance(members, str) else members
        kept = json.loads(json.dumps(snapshot)) if snapshot is not None else None
        self.engine = Engine(self.job, epoch=epoch, snapshot=kept, members=known, now=now)
        self.done: list[do.Action] = []
        self.sessions: dict[str, int] = {}
        self._next_session = 1
        self.tell(ev.Tick())

    def tell(self, event: ev.Event) -> list[do.Action]:
        actions = self.engine.handle(event, self.now)
        self.done += actions
        return actions

    def wait(self, seconds: float) -> list[do.Action]:
        """Let time pass; Ticks come when the engine asked for them, as from the shell."""
        until, seen = self.now + seconds, len(self.done)
        while (wake := self.engine.wake_at) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.tell(ev.Tick())
        self.now = until
        self.tell(ev.Tick())
        return self.done[seen:]

    # ---- members

    def join(self, *silos: str, examples: int = 10) -> list[do.Action]:
        seen = len(self.done)
        for silo in silos:
            self.sessions[silo] = self._next_session
            self._next_session += 1
            self.tell(ev.Joined(silo, self.sessions[silo], examples))
        return self.done[seen:]

    def join_all(self) -> list[do.Action]:
        return self.join(*(s.name for s in self.job.spec.silos))

    def leave(self, *silos: str) -> list[do.Action]:
        seen = len(self.done)
        for silo in silos:
            self.tell(ev.Left(silo, self.sessions[silo]))
        return self.done[seen:]

    def update(
        self,
        silo: str,
        *,
        round: int | None = None,
        attempt: int | None = None,
        epoch: int | None = None,
        steps: tuple[int, int] = (5, 5),
        gradients: bool = False,
    ) -> list[do.Action]:
        view = self.engine.view(self.now)
        token = (epoch or self.epoch, round or view.round, attempt or view.attempt)
        return self.tell(ev.UpdateArrived(silo, *token, *steps, gradients, 1.0, {}))

    def updates(self, *silos: str) -> list[do.Action]:
        seen = len(self.done)
        for silo in silos:
            self.update(silo)
        return self.done[seen:]

    def decline(self, silo: str, *, evaluation: bool = False, reason: str = "DECLINE_ERROR") -> list[do.Action]:
        view = self.engine.view(self.now)
        return self.tell(ev.Declined(silo, view.round, view.attempt, evaluation, reason))

    def declare(self, silo: str, examples: int = 10) -> list[do.Action]:
        return self.tell(ev.Declared(silo, self.sessions[silo], examples))

    def spoil(self, silo: str, reason: str) -> list[do.Action]:
        view = self.engine.view(self.now)
        return self.tell(ev.UpdateSpoiled(silo, view.round, view.attempt, reason))

    def evaluate(self, *silos: str) -> list[do.Action]:
        seen, view = len(self.done), self.engine.view(self.now)
        for silo in silos:
            self.tell(ev.EvaluationArrived(silo, self.epoch, view.round, view.attempt, 5, {}))
        return self.done[seen:]

    # ---- the shell's answers

    def committed(self) -> list[do.Action]:
        view = self.engine.view(self.now)
        return self.tell(ev.Committed(view.round, view.attempt))

    def commit_failed(self, reason: str) -> list[do.Action]:
        view = self.engine.view(self.now)
        return self.tell(ev.CommitFailed(view.round, view.attempt, reason))

    def evaluated(self, **metrics: float) -> list[do.Action]:
        return self.tell(ev.Evaluated(self.engine.view(self.now).round, metrics))

    def whole_round(self, **metrics: float) -> list[do.Action]:
        """From an open round to its release, with everybody invited taking part."""
        seen = len(self.done)
        opened = last(self.done, do.OpenRound)
        self.updates(*opened.cohort)
        self.committed()
        if self.phase == "Evaluating":
            self.evaluate(*last(self.done, do.OpenEvaluation).cohort)
            self.evaluated(**metrics)
        return self.done[seen:]

    # ---- what can be seen

    @property
    def phase(self) -> str:
        return self.engine.view(self.now).phase

    @property
    def reason(self) -> str:
        return self.engine.view(self.now).reason

    def restart(self, snapshot: Mapping[str, Any] | None = None, the_job: FederatedJob | None = None) -> Play:
        """The server process dies and comes back with what was on disk: the snapshot of now, unless given."""
        kept = self.engine.snapshot() if snapshot is None else snapshot
        return Play(the_job or self.job, snapshot=kept, epoch=self.epoch + 1, now=self.now + 5)


def of(actions: list[do.Action], kind: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def only(actions: list[do.Action], kind: type[A]) -> A:
    (found,) = of(actions, kind)
    return found


def last(actions: list[do.Action], kind: type[A]) -> A:
    return of(actions, kind)[-1]


def kinds(actions: list[do.Action]) -> list[str]:
    return [type(action).__name__ for action in actions]
