"""What holds whatever happens in whatever order: any sequence of events, sensible or not."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rounds.play import Play, job, of

from umbel.rounds import actions as do
from umbel.rounds import events as ev

SILOS = [f"s{i}" for i in range(5)]
silo = st.sampled_from([*SILOS, "stranger"])
rounds, attempts, session = st.integers(0, 3), st.integers(1, 3), st.integers(1, 12)
examples, flag = st.integers(1, 20), st.booleans()

event = st.one_of(
    st.builds(ev.Joined, silo, session, examples),
    st.builds(ev.Joined, silo, session, examples),
    st.builds(ev.Declared, silo, session, examples),
    st.builds(ev.Left, silo, session),
    st.builds(ev.UpdateSpoiled, silo, rounds, attempts, st.sampled_from(["TRUNCATED", "NOT_FINITE"])),
    st.builds(ev.Declined, silo, rounds, attempts, flag, st.sampled_from(["DECLINE_ERROR", "DECLINE_NOT_ELIGIBLE"])),
    st.builds(ev.MembersChanged, st.frozensets(st.sampled_from(SILOS), min_size=2)),
    st.builds(ev.QueuedChanged, st.frozensets(silo)),
    st.builds(ev.TotalChanged, st.integers(0, 4)),
    st.builds(ev.CohortChanged, st.just(4), st.integers(3, 4)),
    st.builds(ev.DeadlineChanged, st.floats(1000, 100_000)),
    st.sampled_from([ev.Suspended(), ev.Resumed(), ev.Resumed(), ev.Tick()]),
)
# What refers to the open round, so that most sequences get somewhere: completed from the engine's view when it is sent.
current = st.sampled_from(["update", "update", "update", "evaluate", "evaluate", "committed", "failed", "evaluated"])
acted = st.tuples(current, silo, st.integers(0, 6))
whole = st.sampled_from(["everybody joins", "everybody updates", "the shell answers", "everybody evaluates"])
step = st.one_of(event, acted, acted, whole, whole, st.floats(0.1, 120.0))
# Hypothesis prefers short lists; the interesting ones are long.
steps = st.lists(step, min_size=40, max_size=80)
Sequence = list[ev.Event | tuple[str, str, int] | str | float]


class Watched(Play):
    """Checks every call of the engine as it is made."""

    def __init__(self) -> None:
        self.folded: Counter[tuple[int, int, str]] = Counter()
        self.weights: dict[str, int] = {}
        self.live: dict[str, int] = {}
        self.committed_rounds = 0
        self.opened: set[tuple[int, int]] = set()
        super().__init__(job(5, rounds={"updates": 4, "total": 3}, privacy={"minExamples": 20}))

    def tell(self, event: ev.Event) -> list[do.Action]:
        ended = self.phase in ("Complete", "Failed")
        actions = super().tell(event)
        self.answered(event, actions)
        self.note_sessions(event, of(actions, do.EndSession))
        for action in actions:
            self.check(action)
        if ended:
            assert all(isinstance(a, do.Reject | do.EndSession) for a in actions)
        wake = self.engine.wake_at
        assert wake is None or wake > self.now, "a Tick that changes nothing would be asked for again and again"
        snapshot = self.engine.snapshot()
        assert json.loads(json.dumps(snapshot)) is not None
        return actions

    def note_sessions(self, event: ev.Event, ended: list[do.EndSession]) -> None:
        """``live``: the sessions that were taken in and have not ended since."""
        gone = {(e.silo, e.session) for e in ended}
        if isinstance(event, ev.Left):
            gone.add((event.silo, event.session))
        if isinstance(event, ev.Joined) and (event.silo, event.session) not in gone:
            self.live[event.silo] = event.session
        self.live = {silo: number for silo, number in self.live.items() if (silo, number) not in gone}

    @staticmethod
    def answered(event: ev.Event, actions: list[do.Action]) -> None:
        answers = of(actions, do.Fold) + of(actions, do.Reject) + of(actions, do.CountEvaluation)
        asked = isinstance(event, ev.UpdateArrived | ev.EvaluationArrived)
        assert len(answers) == asked

    def check(self, action: do.Action) -> None:
        match action:
            case do.OpenRound():
                assert action.round == self.committed_rounds + 1
                assert (action.round, action.attempt) not in self.opened
                assert len(action.cohort) >= 3
                assert "stranger" not in action.cohort
                self.opened.add((action.round, action.attempt))
                self.weights = {}
            case do.Fold():
                self.folded[action.round, action.attempt, action.silo] += 1
                assert self.folded[action.round, action.attempt, action.silo] == 1
                self.weights[action.silo] = action.examples
            case do.Commit():
                assert action.round == self.committed_rounds + 1
                assert len(self.weights) >= 3
                assert sum(self.weights.values()) >= 20
                assert action.outcomes.full + action.outcomes.partial == len(self.weights)
                assert 0 <= action.outcomes.queued <= action.outcomes.lost
            case do.SendTask() | do.SendWrapUp() | do.SendCancel():
                assert action.session == self.live[action.silo]
            case do.Release():
                assert action.round == self.committed_rounds
            case _:
                pass

    def perform(self, sequence: Sequence) -> None:
        for item in sequence:
            match item:
                case float():
                    self.wait(item)
                case tuple():
                    self.act(*item)
                case str():
                    self.together(item)
                case _:
                    self.tell(item)

    def together(self, what: str) -> None:
        if what == "everybody joins":
            self.tell(ev.Resumed())
            self.tell(ev.MembersChanged(frozenset(SILOS)))
            self.join(*SILOS)
        for silo in SILOS if what != "the shell answers" else ["s0"]:
            if what == "everybody updates":
                self.act("update", silo, 5)
            elif what == "everybody evaluates":
                self.act("evaluate", silo, 5)
        if what == "the shell answers":
            self.act("committed", "s0", 0)
            self.act("evaluated", "s0", 0)

    def act(self, what: str, silo: str, n: int) -> None:
        view = self.engine.view(self.now)
        match what:
            case "update":
                self.tell(ev.UpdateArrived(silo, 1, view.round, view.attempt, min(n, 5), 5, False, 1.0, {}))
            case "evaluate":
                self.tell(ev.EvaluationArrived(silo, 1, view.round, view.attempt, n, {}))
            case "committed":
                self.committed_rounds += view.phase == "Closing"
                self.tell(ev.Committed(view.round, view.attempt))
            case "failed":
                self.tell(ev.CommitFailed(view.round, view.attempt, "CheckpointFailed"))
            case "evaluated":
                self.tell(ev.Evaluated(view.round, {"loss": 1.0}))


@settings(max_examples=300)
@given(steps)
def test_any_sequence_keeps_the_rules(sequence: Sequence) -> None:
    play = Watched()
    play.join(*SILOS)
    play.perform(sequence)


@settings(max_examples=200)
@given(steps)
def test_a_restart_anywhere_changes_neither_what_is_committed_nor_what_is_owed(
    sequence: Sequence,
) -> None:
    play = Watched()
    play.join(*SILOS)
    play.perform(sequence)
    owed = play.engine.snapshot()["awaiting"]
    later = play.restart()
    later.tell(ev.Resumed())
    later.tell(ev.MembersChanged(frozenset(SILOS)))
    later.join(*SILOS)
    later.wait(60)
    opened = of(later.done, do.OpenRound)
    assert all(action.round == play.committed_rounds + 1 for action in opened)
    if owed:
        assert of(later.done, do.OpenEvaluation) or of(later.done, do.Release)
        assert not opened
