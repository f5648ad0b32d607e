"""Watches a simulated job and holds it to what is promised whatever goes wrong.

I1  no committed round is lost or opened again
I2  a silo counts 0 or 1 times in a round
I3  the model is the mean of exactly the accepted updates, computed here another way
I4  a refused update changes no byte
I6  while a quorum is connected, a round closes or the job ends in bounded time
I7  nothing below a floor leaves
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.simulation import oracle
from umbel.simulation.disk import Bytes
from umbel.simulation.oracle import Taken
from umbel.wire.layout import Layout

SLACK = 60.0  # seconds for what the simulation itself takes: restarts of the server, slow disks


class Violation(AssertionError):
    """A promise was broken."""


class Witness:
    def __init__(self, job: FederatedJob, down: Layout, up: Layout, model: Bytes) -> None:
        self._job = job
        self._down, self._up = down, up
        self._durable = (0, model.tobytes())  # version and bytes of the newest model on disk
        self._model = model.copy()
        self._round = 0
        self._taken: dict[str, Taken] = {}
        self._released: list[int] = []
        self._evaluated: dict[str, int] = {}
        self._since: float | None = None  # when the quorum became connected, or the last progress after that
        self.commits = 0
        self.refusals = 0

    def _hold(self, truth: bool, invariant: str, what: str) -> None:
        if not truth:
            raise Violation(f"{invariant}: {what}")

    # ---- a round

    def opened(self, action: do.OpenRound, model: Bytes) -> None:
        self._hold(action.round == self._durable[0] + 1, "I1", f"round {action.round} opened on {self._durable[0]}")
        self._hold(model.tobytes() == self._durable[1], "I1", "the round's model is not the one on disk")
        self._round, self._taken, self._model = action.round, {}, model.copy()

    def folded(self, action: do.Fold, update: Bytes) -> None:
        self._hold(action.silo not in self._taken, "I2", "a silo counted twice")
        self._hold(action.round == self._round, "I2", "an update of another round counted")
        self._taken[action.silo] = Taken(update.copy(), action.examples, action.rescale)

    def accepted(self, silo: str) -> None:
        self._hold(silo in self._taken, "I3", "a member was told that its update counts, and it does not")

    def refused(self, before: bytes, after: bytes) -> None:
        """An upload was answered and did not count: the sums before and after it."""
        self.refusals += 1
        self._hold(before == after, "I4", "a refused update changed the sums")

    def abandoned(self, model: Bytes) -> None:
        self._hold(model.tobytes() == self._durable[1], "I4", "an abandoned round changed the model")

    def closing(self, version: int) -> None:
        self._hold(version == self._round == self._durable[0] + 1, "I1", f"version {version} out of turn")
        examples = sum(taken.examples for taken in self._taken.values())
        quorum = self._job.spec.rounds.quorum or 0
        self._hold(len(self._taken) >= quorum, "I7", "a commit below the quorum")
        self._hold(examples >= self._job.spec.privacy.min_examples, "I7", "a commit below minExamples")

    def aggregated(self, model: Bytes) -> None:
        taken = [self._taken[silo] for silo in sorted(self._taken)]
        if oracle.applies_to(self._job):
            wrong = oracle.differs(self._job, self._down, self._up, self._model, model, taken)
            self._hold(not wrong, "I3", f"{wrong} is not the mean of the {len(taken)} accepted updates")

    def durable(self, version: int, model: Bytes) -> None:
        self._durable = (version, model.tobytes())
        self.commits += 1

    def written(self, committed: int) -> None:
        """The state file alone was replaced: it must go with the model beside it."""
        self._hold(committed == self._durable[0], "I1", f"state of {committed} over the model of {self._durable[0]}")

    def restarted(self, version: int, model: Bytes, committed: int) -> None:
        self._hold(version == committed == self._durable[0], "I1", f"came back at {committed} of {self._durable[0]}")
        self._hold(model.tobytes() == self._durable[1], "I1", "came back with another model")

    # ---- release

    def evaluating(self) -> None:
        self._evaluated = {}

    def counted(self, silo: str, examples: int) -> None:
        self._hold(silo not in self._evaluated, "I2", "a silo's evaluation counted twice")
        self._evaluated[silo] = examples

    def training_released(self, values: Mapping[str, float]) -> None:
        self._above_floors(values, [taken.examples for taken in self._taken.values()])

    def evaluation_released(self, values: Mapping[str, float]) -> None:
        self._above_floors(values, list(self._evaluated.values()))

    def _above_floors(self, values: Mapping[str, float], examples: list[int]) -> None:
        privacy, declared = self._job.spec.privacy, {metric.name for metric in self._job.spec.metrics}
        self._hold(values.keys() <= declared, "I7", "a metric that the job does not name")
        if values:
            self._hold(len(examples) >= privacy.min_cohort, "I7", "metrics of a cohort below minCohort")
            self._hold(sum(examples) >= privacy.min_examples, "I7", "metrics of fewer examples than minExamples")

    def released(self, record: Mapping[str, Any]) -> None:
        round = record["round"]
        self._hold(round == self._durable[0], "I1", f"round {round} released at version {self._durable[0]}")
        self._hold(round not in self._released, "I1", f"round {round} released twice")
        self._released.append(round)

    def ended(self, outcome: str) -> None:
        if outcome == "Complete":
            rounds = self._released == list(range(1, self._durable[0] + 1))
            self._hold(rounds or not self._job.spec.rounds.total, "I1", f"released were only {self._released}")

    # ---- liveness

    def progressed(self, now: float) -> None:
        if self._since is not None:
            self._since = now

    def at(self, now: float, connected: int, suspended: bool, ended: bool) -> None:
        """Called whenever something happened; ``connected`` is 0 while the server is down."""
        if connected < (self._job.spec.rounds.quorum or 0) or suspended or ended:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        rounds, evaluation = self._job.spec.rounds, self._job.spec.evaluation
        grace = rounds.grace_seconds or 0.0
        bound = rounds.gather_seconds + max(rounds.timeout_seconds + grace, evaluation.timeout_seconds) + SLACK
        self._hold(now - self._since <= bound, "I6", f"no progress for {now - self._since:.0f} s with a quorum there")
