"""The round engine: a pure state machine. Events go in, actions come out; time comes in as an argument.

    Gathering ──► Training ──► Closing ──► Evaluating ──► Releasing ──► Gathering … Complete | Failed
        ▲             │ abandoned  │ failed      │ suspended
        └─────────────┴────────────┴─────────────┘

`Engine.handle` writes down what the event says (`hearing`), then moves on as far as it can (`course`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.rounds import course, hearing
from umbel.rounds import events as ev
from umbel.rounds.state import Phase, State
from umbel.rounds.view import View, look

UNSAVED_SECONDS = 60.0  # of active time that a crash may forget


class Engine:
    """``job`` is resolved. ``epoch`` tells this process from earlier ones of the job. ``members`` None: nothing opens
    before `MembersChanged`. ``snapshot``: what `snapshot` of an earlier process gave; None for a new job.

    The caller sends a first `Tick` to start it, and one at ``wake_at`` whenever no event came before.
    """

    def __init__(
        self,
        job: FederatedJob,
        *,
        epoch: int,
        snapshot: Mapping[str, Any] | None,
        members: frozenset[str] | None,
        now: float,
    ) -> None:
        self.epoch = epoch
        self.wake_at: float | None = now
        self._state = State(job, epoch, snapshot, members, now)
        self._saved_seconds = self._state.ledger.active_seconds

    def handle(self, event: ev.Event, now: float) -> list[do.Action]:
        s = self._state
        s.actions = []
        self._pass_time(now)
        hearing.hear(s, event)
        course.advance(s)
        self._save()
        self.wake_at = self._next_wake()
        return s.actions

    def _pass_time(self, now: float) -> None:
        s = self._state
        now = max(now, s.now)
        if not s.terms.suspended and not s.ledger.outcome:
            s.ledger.active_seconds += now - s.now
        s.now = now

    def _save(self) -> None:
        """A release and the end of the job write the state by themselves.

        Nothing is saved while a commit is pending: the ledger of before it must not overwrite its checkpoint.
        """
        s = self._state
        if s.phase is Phase.CLOSING:
            return
        unsaved = s.ledger.active_seconds - self._saved_seconds
        if not s.dirty and unsaved < UNSAVED_SECONDS - course.CLOCK_ROUNDING:
            return
        if not any(isinstance(action, do.Release | do.Finish) for action in s.actions):
            s.actions.append(do.SaveState())
        s.dirty = False
        self._saved_seconds = s.ledger.active_seconds

    def _next_wake(self) -> float | None:
        s, wake = self._state, course.next_wake(self._state)
        if s.ledger.outcome or s.terms.suspended or s.phase is Phase.CLOSING:
            return wake
        save_at = s.now + UNSAVED_SECONDS - (s.ledger.active_seconds - self._saved_seconds)
        return min(save_at, wake) if wake is not None else save_at

    # ---- what the shell asks

    @property
    def members_known(self) -> bool:
        return self._state.members.members is not None

    def is_member(self, silo: str) -> bool:
        """False for everybody until the list of members is known."""
        return self._state.members.belongs(silo)

    def check_upload(self, silo: str, epoch: int, round: int, attempt: int) -> tuple[str, str] | None:
        """Whether an upload that is about to start can count: None, or the (code, reason) to answer with."""
        return hearing.verdict_on_upload(self._state, silo, epoch, round, attempt)

    def snapshot(self) -> dict[str, Any]:
        """What must survive a restart, JSON-able. Not to be written while a commit is pending: see
        `snapshot_after_commit`."""
        return self._state.ledger.to_json()

    def snapshot_after_commit(self) -> dict[str, Any]:
        """What `snapshot` will be once the pending `Commit` is answered by `Committed`: goes into its checkpoint."""
        s = self._state
        if s.phase is not Phase.CLOSING or s.attempt is None or s.outcomes is None:
            raise RuntimeError("no commit is pending")
        return s.ledger.after_commit(s.attempt.number, s.attempt.planned, s.outcomes).to_json()

    def view(self, now: float) -> View:
        return look(self._state, now)
