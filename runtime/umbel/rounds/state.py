"""The engine's memory in one place, and the messages to members that several rules send."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds.attempt import Attempt
from umbel.rounds.evaluation import Evaluation
from umbel.rounds.ledger import Ledger
from umbel.rounds.membership import Membership
from umbel.rounds.terms import Terms


class Phase(Enum):
    GATHERING = "Gathering"
    TRAINING = "Training"
    CLOSING = "Closing"  # Commit was emitted; its answer is awaited
    EVALUATING = "Evaluating"
    RELEASING = "Releasing"  # CloseEvaluation was emitted; its answer is awaited


class State:
    """``ledger`` survives the process, the rest does not.

    Invariant: ``attempt`` is open in TRAINING, closing in CLOSING, and otherwise the last one, kept to answer repeats;
    so is ``evaluation`` in EVALUATING and RELEASING.
    """

    def __init__(
        self,
        job: FederatedJob,
        epoch: int,
        snapshot: Mapping[str, Any] | None,
        members: frozenset[str] | None,
        now: float,
    ) -> None:
        self.job = job
        self.epoch = epoch
        self.now = now
        self.ledger = Ledger.from_json(snapshot) if snapshot else Ledger()
        self.terms = Terms(job, self.ledger)
        self.members = Membership(members, now)
        self.phase = Phase.GATHERING
        self.gathering_since = now
        self.attempt: Attempt | None = None
        self.outcomes: do.RoundOutcomes | None = None  # of the attempt that is closing
        self.evaluation: Evaluation | None = None
        self.evaluate_at_once = False  # by who is connected; a server that has just started waits for members
        self.end: do.Finish | None = None  # decided; due as soon as nothing committed is unreleased
        self.announced = False  # this process has emitted Finish
        self.dirty = False  # the ledger holds what a restart must know and no action has it written
        self.actions: list[do.Action] = []

    def gather(self) -> None:
        self.phase = Phase.GATHERING
        self.gathering_since = self.now

    def open_attempt(self, round: int, number: int) -> Attempt | None:
        """The attempt of this number, if it is open."""
        held = self.attempt
        if self.phase is Phase.TRAINING and held is not None and (held.round, held.number) == (round, number):
            return held
        return None

    def closing_attempt(self, round: int, number: int) -> Attempt | None:
        held = self.attempt
        if self.phase is Phase.CLOSING and held is not None and (held.round, held.number) == (round, number):
            return held
        return None

    def open_evaluation(self, round: int, number: int) -> Evaluation | None:
        held = self.evaluation
        if self.phase is Phase.EVALUATING and held is not None and (held.round, held.attempt) == (round, number):
            return held
        return None

    # ---- messages, to who is connected

    def send_training(self, silo: str, held: Attempt) -> None:
        """The task, and the notice that time is running out if that has gone out already."""
        self._send_task(silo, held.round, held.number, held.deadline, evaluation=False)
        if held.wrapped_up:
            self.send_wrap_up(silo, held)

    def send_evaluation(self, silo: str, held: Evaluation) -> None:
        self._send_task(silo, held.round, held.attempt, held.deadline, evaluation=True)

    def _send_task(self, silo: str, round: int, attempt: int, deadline: float, *, evaluation: bool) -> None:
        session = self.members.session(silo)
        if session is not None:
            grace = 0.0 if evaluation else self.terms.grace
            left = max(0.0, deadline - self.now)
            self.actions.append(do.SendTask(silo, session, round, attempt, evaluation, left, grace))

    def send_wrap_up(self, silo: str, held: Attempt) -> None:
        session = self.members.session(silo)
        if session is not None:
            left = max(0.0, held.deadline - self.now)
            self.actions.append(do.SendWrapUp(silo, session, held.round, held.number, left))

    def send_cancel(self, silo: str, round: int, attempt: int, *, evaluation: bool) -> None:
        session = self.members.session(silo)
        if session is not None:
            self.actions.append(do.SendCancel(silo, session, round, attempt, evaluation))
