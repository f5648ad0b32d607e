"""Virtual members: what each one does with a task is drawn from the job's faults and the member's own generator."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from umbel.rounds import actions as do
from umbel.rounds import events as ev
from umbel.simulation.disk import Bytes
from umbel.simulation.faults import Faults
from umbel.simulation.server import Message, SimulatedServer, Upload
from umbel.wire.layout import Layout

STEPS = 20  # planned per task
A = TypeVar("A")


class Network(Protocol):
    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Do something after ``seconds`` of virtual time."""

    def reach(self, what: Callable[[SimulatedServer], A]) -> A | None:
        """Talk to the server; None if it is down, or goes down before it has answered."""

    def next_session(self) -> int: ...


class Member:
    def __init__(self, name: str, network: Network, faults: Faults, up: Layout, rng: random.Random) -> None:
        self.name = name
        self.examples = rng.randint(5, 500)
        self.session: int | None = None
        self.finished = False
        self._network = network
        self._faults = faults
        self._up = up
        self._rng = rng
        self._values = np.random.default_rng(rng.getrandbits(32))
        self._epoch = 0
        self._task: do.SendTask | None = None
        self._until_notice = False

    # ---- the session

    def connect(self) -> None:
        if self.session is not None:
            return
        number = self._network.next_session()

        def join(server: SimulatedServer) -> int:
            self.session, self._epoch = number, server.engine.epoch
            server.feed(ev.Joined(self.name, number, self.examples))
            return number

        if self._network.reach(join) is None:
            self.lost()

    def lost(self) -> None:
        """The connection broke; it dials again."""
        self.session = self._task = None
        self._network.later(self._rng.uniform(0.5, 12.0), self.connect)

    def _leave(self) -> None:
        number, self.session, self._task = self.session, None, None
        if number is not None:
            self._network.reach(lambda server: server.feed(ev.Left(self.name, number)))
        away = (60.0, 400.0) if self._rng.random() < self._faults.stay_away else (1.0, 12.0)
        self._network.later(self._rng.uniform(*away), self.connect)

    def _twin(self) -> None:
        """The old session's end is noticed late."""
        old, self.session, self._task = self.session, None, None
        self.connect()
        if old is not None:
            left = ev.Left(self.name, old)
            self._network.later(3.0, lambda: self._network.reach(lambda server: server.feed(left)))

    def receive(self, message: Message) -> None:
        match message:
            case do.SendTask():
                self._task, self._until_notice = message, False
                (self._evaluate if message.evaluation else self._train)(message)
            case do.SendWrapUp():
                if self._task is not None and self._until_notice:
                    task, steps = self._task, self._rng.randint(1, STEPS - 1)
                    self._network.later(self._rng.uniform(0.1, 5.0), lambda: self._send(task, steps))
            case do.SendCancel():
                self._task = None
            case do.EndSession():
                if message.session == self.session:
                    self.session = self._task = None
                    self._network.later(self._rng.uniform(10.0, 60.0), self.connect)
            case do.Finish():
                self.finished = True

    # ---- tasks

    def _train(self, task: do.SendTask) -> None:
        faults, left = self._faults, task.seconds_left
        soon = self._rng.uniform(0.02, 0.8) * left
        later = self._network.later
        match self._draw("late", "partial", "decline", "poison", "truncate", "silent", "drop", "twin"):
            case "late":
                later(left + self._rng.uniform(0.5, 30.0), lambda: self._send(task, STEPS, stubborn=True))
            case "partial":
                self._until_notice = True
            case "decline":
                later(soon, lambda: self._decline(task))
            case "poison":
                later(soon, lambda: self._send(task, STEPS, poison=True))
            case "truncate":
                later(soon, lambda: self._spoil(task))
                later(soon + 2.0, lambda: self._send(task, STEPS))
            case "silent":
                pass
            case "drop":
                later(soon, self._leave)
            case "twin":
                later(soon, self._twin)
            case _:
                later(soon, lambda: self._send(task, STEPS))
        if self._rng.random() < faults.replay:
            later(soon, lambda: self._upload(self._epoch, max(0, task.round - 1), task.attempt, STEPS))

    def _draw(self, *names: str) -> str:
        at = self._rng.random()
        for name in names:
            at -= getattr(self._faults, name)
            if at < 0:
                return name
        return ""

    def _is_current(self, task: do.SendTask) -> bool:
        return self._task is task

    def _send(self, task: do.SendTask, steps: int, *, poison: bool = False, stubborn: bool = False) -> None:
        """``stubborn``: whatever has been said meanwhile. An unanswered upload is tried again under its token."""
        if not (self._is_current(task) or stubborn):
            return
        epoch = self._epoch
        ack = self._upload(epoch, task.round, task.attempt, steps, poison=poison)
        if ack is None or self._rng.random() < self._faults.duplicate:
            again = self._rng.uniform(0.1, 20.0)
            self._network.later(again, lambda: self._upload(epoch, task.round, task.attempt, STEPS))

    def _upload(self, epoch: int, round: int, attempt: int, steps: int, *, poison: bool = False) -> object:
        loss = self._rng.uniform(0.0, 5.0)
        upload = Upload(self.name, epoch, round, attempt, steps, STEPS, self._update(poison), loss)
        return self._network.reach(lambda server: server.put_update(upload))

    def _update(self, poison: bool) -> Bytes:
        update = self._up.empty()
        for region in self._up.regions:
            values = self._values.normal(0.0, 0.5, region.count)
            region.of(update)[...] = values if region.dtype.startswith("float") else np.rint(values * 10)
        if poison:
            floats = next(region for region in self._up.regions if region.trained)
            floats.of(update)[self._rng.randrange(floats.count)] = self._rng.choice((np.nan, np.inf, 1e9))
        return update

    def _spoil(self, task: do.SendTask) -> None:
        if self._is_current(task):
            event = ev.UpdateSpoiled(self.name, task.round, task.attempt, "TRUNCATED")
            self._network.reach(lambda server: server.feed(event))

    def _decline(self, task: do.SendTask) -> None:
        if self._is_current(task):
            event = ev.Declined(self.name, task.round, task.attempt, task.evaluation, "DECLINE_ERROR")
            self._network.reach(lambda server: server.feed(event))

    def _evaluate(self, task: do.SendTask) -> None:
        soon = self._rng.uniform(0.02, 0.8) * task.seconds_left
        match self._draw("late", "decline", "silent", "drop"):
            case "late":
                self._network.later(task.seconds_left + 1.0, lambda: self._answer(task))
            case "decline":
                self._network.later(soon, lambda: self._decline(task))
            case "silent":
                pass
            case "drop":
                self._network.later(soon, self._leave)
            case _:
                self._network.later(soon, lambda: self._answer(task))
                if self._rng.random() < self._faults.duplicate:
                    self._network.later(soon + 1.0, lambda: self._answer(task))

    def _answer(self, task: do.SendTask) -> None:
        metrics = {"loss": self._rng.uniform(0.0, 5.0), "surplus": 1.0}
        event = ev.EvaluationArrived(self.name, self._epoch, task.round, task.attempt, self.examples, metrics)
        self._network.reach(lambda server: server.put_evaluation(event))
