"""The numbers that a job's rounds go by, and those among them that may change while it runs."""

from __future__ import annotations

from umbel.job import FederatedJob
from umbel.rounds import events as ev
from umbel.rounds.ledger import Ledger


class Terms:
    """The resolved manifest's values, and over them the edits that the ledger holds. Seconds throughout."""

    def __init__(self, job: FederatedJob, ledger: Ledger) -> None:
        rounds, spec = job.spec.rounds, job.spec
        if rounds.quorum is None or rounds.grace_seconds is None:
            raise ValueError("the job is not resolved")
        self.min_examples = spec.privacy.min_examples
        self.timeout = float(rounds.timeout_seconds)
        self.grace = float(rounds.grace_seconds)
        self.gather = float(rounds.gather_seconds)
        self.partial_updates = rounds.partial_updates
        self.rescale_cap = float(rounds.rescale_cap)
        self.over_selection = rounds.over_selection
        self.by_examples = rounds.selection == "ByExamples"
        self.max_consecutive_abandoned = rounds.max_consecutive_abandoned
        self.seed = spec.seed
        self.evaluate_every = spec.evaluation.every_rounds
        self.evaluation_timeout = float(spec.evaluation.timeout_seconds)
        self._ledger = ledger
        self._manifest = {
            "total": float(rounds.total),
            "updates": float(rounds.updates or 0),
            "quorum": float(rounds.quorum),
            "activeDeadlineSeconds": float(spec.active_deadline_seconds),
            "suspend": float(spec.suspend),
        }

    def updates(self, members: int) -> int:
        """Wanted per round; with silos chosen by a selector, everybody's."""
        return int(self._value("updates")) or members

    @property
    def quorum(self) -> int:
        return int(self._value("quorum"))

    @property
    def total(self) -> int:
        return int(self._value("total"))

    @property
    def active_deadline(self) -> float:
        return self._value("activeDeadlineSeconds")

    @property
    def suspended(self) -> bool:
        return bool(self._value("suspend"))

    def _value(self, name: str) -> float:
        return self._ledger.edited(name, self._manifest[name])

    def edit(self, event: ev.Edit) -> bool:
        """Whether this changes anything."""
        match event:
            case ev.TotalChanged():
                values = {"total": float(event.total)}
            case ev.CohortChanged():
                values = {"updates": float(event.updates), "quorum": float(event.quorum)}
            case ev.DeadlineChanged():
                values = {"activeDeadlineSeconds": float(event.seconds)}
            case ev.Suspended():
                values = {"suspend": 1.0}
            case ev.Resumed():
                values = {"suspend": 0.0}
        changed = {name: value for name, value in values.items() if value != self._value(name)}
        for name, value in changed.items():
            self._ledger.edits[name] = (self._manifest[name], value)
        return bool(changed)
