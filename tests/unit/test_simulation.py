"""Whole jobs under faults, in virtual time: the real engine and the real sums keep their promises.

A seed that fails is in the message; `simulate` with the same job and seed repeats its course event by event.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.rounds.play import job

from umbel.rounds import actions as do
from umbel.rounds import attempt, reasons
from umbel.rounds import events as ev
from umbel.rounds.engine import Engine
from umbel.simulation.disk import Disk
from umbel.simulation.faults import Faults
from umbel.simulation.server import ServerCrash, SimulatedServer, Upload
from umbel.simulation.setting import Setting, Sums
from umbel.simulation.witness import Violation, Witness
from umbel.simulation.world import simulate

JOB = job(6, rounds={"updates": 5, "quorum": 3, "total": 6, "overSelection": 1.2}, activeDeadlineSeconds=20_000)
JOBS = {
    "more invited than wanted": JOB,
    "a quorum of all": job(4, rounds={"total": 4, "quorum": 4, "gatherSeconds": 20}, evaluation={"everyRounds": 0}),
    "many small silos": job(
        12,
        rounds={"updates": 8, "quorum": 4, "total": 5, "selection": "ByExamples", "partialUpdates": "Refuse"},
        evaluation={"everyRounds": 2, "timeoutSeconds": 30},
        privacy={"minExamples": 900},
    ),
    "short rounds": job(5, rounds={"total": 8, "timeoutSeconds": 10, "graceSeconds": 4, "partialUpdates": "AsIs"}),
}
SEEDS = 100  # of each


@pytest.mark.parametrize("tens", range(SEEDS // 10))
@pytest.mark.parametrize("which", JOBS)
def test_any_mix_of_faults_keeps_the_promises(which: str, tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        try:
            simulate(JOBS[which], seed=seed)
        except Exception as error:
            raise AssertionError(f"simulate(JOBS[{which!r}], seed={seed}): {error}") from error


def test_without_faults_every_round_is_committed() -> None:
    outcome = simulate(JOB, seed=1, faults=Faults())
    assert (outcome.phase, outcome.reason, outcome.committed) == ("Complete", reasons.ALL_ROUNDS_COMMITTED, 6)
    assert outcome.refusals == 0


def test_the_same_seed_gives_the_same_course() -> None:
    assert simulate(JOB, seed=11) == simulate(JOB, seed=11)
    assert simulate(JOB, seed=11) != simulate(JOB, seed=12)


def test_the_seeds_meet_what_they_are_meant_to_meet() -> None:
    """Crashes, refusals, jobs that complete in spite of them and jobs that fail: else the rest proves little."""
    outcomes = [simulate(JOB, seed=seed) for seed in range(40)]
    phases = Counter(outcome.phase for outcome in outcomes)
    assert phases["Complete"] > 10
    assert phases["Failed"] > 2
    assert sum(outcome.crashes for outcome in outcomes) > 40
    assert sum(outcome.refusals for outcome in outcomes) > 40


# ---- the witness notices


def fold_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = Sums.fold

    def twice(self: Sums, *arguments: Any) -> None:
        fold(self, *arguments)
        if arguments[0].silo == "s1":
            # Past the aggregation's own guard, which knows that the weights exceed the cohort's.
            self._aggregation._accumulator.fold(arguments[2], arguments[0].examples, 1.0)

    monkeypatch.setattr(Sums, "fold", twice)


def forget_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "snapshot", lambda self: None)


def count_everybody_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt.Attempt, "verdict_on", lambda self, silo: None)


def take_any_number_for_a_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt.Attempt, "verdict", lambda self, *_: attempt.Verdict(True, "", False))


def never_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt.Attempt, "verdict", lambda self, *_: None)


def fold_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = SimulatedServer._judge

    def careless(self: SimulatedServer, upload: Upload) -> tuple[str, str]:
        answer = judge(self, upload)
        if answer[0] == "ROUND_CLOSED" and self.engine.view(0).phase == "Training":
            event = ev.UpdateArrived("s0", 1, 1, 1, 1, 1, False, 1.0, {})
            self._sums.fold(do.Fold("s0", 1, 1, 1, 1.0), event, upload.update)
        return answer

    monkeypatch.setattr(SimulatedServer, "_judge", careless)


@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (forget_the_snapshot, "I1"),
        (count_everybody_again, "I2"),
        (fold_twice, "I3"),
        (fold_what_is_refused, "I4"),
        (never_close, "I6"),
        (take_any_number_for_a_quorum, "I7"),
    ],
)
def test_a_broken_promise_is_noticed(break_it: Any, invariant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    faults = Faults(duplicate=0.3, replay=0.5, late=0.1, crash=0.01)
    with pytest.raises(Violation, match=invariant):
        _ = [simulate(JOB, seed=seed, faults=faults) for seed in range(30)]


# ---- any order of anything


SILO = st.sampled_from([f"s{i}" for i in range(5)])


class Server(RuleBasedStateMachine):
    """One server and five silos, driven step by step; hypothesis finds the shortest course that breaks a promise."""

    @initialize()
    def start(self) -> None:
        self.job = job(5, rounds={"updates": 4, "quorum": 3, "total": 4}, privacy={"minExamples": 20})
        self.setting = Setting.of(self.job)
        self.disk = Disk(0, self.setting.initial.copy())
        self.witness = Witness(self.job, self.setting.down, self.setting.up, self.setting.initial)
        self.now = 0.0
        self.epoch = 0
        self.session = 0
        self.fuse: int | None = None
        self.sessions: dict[str, int] = {}
        self.values = np.random.default_rng(0)
        self.boot()
        self.everybody_joins()

    def boot(self) -> None:
        self.epoch += 1
        self.sessions, self.fuse = {}, None
        self.server = SimulatedServer(
            self.setting,
            self.disk,
            self.witness,
            epoch=self.epoch,
            clock=lambda: self.now,
            danger=self.danger,
            deliver=lambda message: None,
        )
        self.safely(lambda: self.server.feed(ev.MembersChanged(frozenset(f"s{i}" for i in range(5)))))

    def danger(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise ServerCrash

    def safely(self, what: Any) -> None:
        try:
            what()
        except ServerCrash:
            self.now += 1.0
            self.boot()

    @property
    def engine(self) -> Engine:
        return self.server.engine

    def upload(self, silo: str, steps: int, *, back: int = 0, poison: bool = False) -> None:
        view = self.engine.view(self.now)
        update = self.setting.up.empty()
        for region in self.setting.up.regions:
            region.of(update)[...] = np.rint(self.values.normal(0, 3, region.count))
        if poison:
            next(r for r in self.setting.up.regions if r.trained).of(update)[0] = np.nan
        made = Upload(silo, self.epoch, view.round - back, view.attempt, steps, 10, update, 1.0)
        self.safely(lambda: self.server.put_update(made))

    @rule(silo=SILO, examples=st.integers(1, 100))
    def join(self, silo: str, examples: int) -> None:
        self.session += 1
        self.sessions[silo] = self.session
        self.safely(lambda: self.server.feed(ev.Joined(silo, self.sessions[silo], examples)))

    @rule()
    def everybody_joins(self) -> None:
        for i in range(5):
            self.join(f"s{i}", 10)

    @rule(silo=SILO)
    def leave(self, silo: str) -> None:
        if silo in self.sessions:
            number = self.sessions.pop(silo)
            self.safely(lambda: self.server.feed(ev.Left(silo, number)))

    @rule(silo=SILO, steps=st.integers(0, 10))
    def update(self, silo: str, steps: int) -> None:
        self.upload(silo, steps)

    @rule()
    def everybody_updates(self) -> None:
        for i in range(5):
            self.upload(f"s{i}", 10)

    @rule(silo=SILO)
    def replay(self, silo: str) -> None:
        self.upload(silo, 10, back=1)

    @rule(silo=SILO)
    def poison(self, silo: str) -> None:
        self.upload(silo, 10, poison=True)

    @rule(silo=SILO, evaluation=st.booleans())
    def decline(self, silo: str, evaluation: bool) -> None:
        view = self.engine.view(self.now)
        event = ev.Declined(silo, view.round, view.attempt, evaluation, "DECLINE_ERROR")
        self.safely(lambda: self.server.feed(event))

    @rule(silo=SILO)
    def evaluate(self, silo: str) -> None:
        view = self.engine.view(self.now)
        event = ev.EvaluationArrived(silo, self.epoch, view.round, view.attempt, 10, {"loss": 1.0})
        self.safely(lambda: self.server.put_evaluation(event))

    @rule()
    def everybody_evaluates(self) -> None:
        for i in range(5):
            self.evaluate(f"s{i}")

    @precondition(lambda self: self.server.has_work)
    @rule()
    def work(self) -> None:
        self.safely(self.server.work)

    @precondition(lambda self: self.server.has_work)
    @rule()
    def fail_the_checkpoint(self) -> None:
        self.disk.full = True
        self.safely(self.server.work)
        self.disk.full = False

    @rule(steps=st.integers(0, 4))
    def crash_soon(self, steps: int) -> None:
        self.fuse = steps

    @rule(works=st.booleans())
    def suspend_for_a_moment(self, works: bool) -> None:
        self.safely(lambda: self.server.feed(ev.Suspended()))
        if works:
            self.do_the_work()
        self.safely(lambda: self.server.feed(ev.Resumed()))

    def do_the_work(self) -> None:
        while self.server.has_work:
            self.safely(self.server.work)

    @rule(late=st.booleans())
    def everybody_takes_part(self, late: bool) -> None:
        """From wherever the job is: through the round, or through what is owed of the last one."""
        self.everybody_joins()
        if late:
            self.wait(60.0)
        self.everybody_updates()
        self.do_the_work()
        self.everybody_evaluates()
        self.do_the_work()

    @rule(seconds=st.sampled_from([1.0, 15.0, 60.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """All work is done on the way, as it would be."""
        until = self.now + seconds
        self.do_the_work()
        while (wake := self.engine.wake_at) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.safely(lambda: self.server.feed(ev.Tick()))
            self.do_the_work()
        self.now = max(self.now, until)
        self.safely(lambda: self.server.feed(ev.Tick()))

    @invariant()
    def keeps_going(self) -> None:
        view = self.engine.view(self.now)
        busy = self.server.has_work or self.server.finished
        self.witness.at(self.now, view.connected, view.phase == "Suspended", busy)


TestServer = Server.TestCase
TestServer.settings = settings(max_examples=150, stateful_step_count=60, print_blob=True)
