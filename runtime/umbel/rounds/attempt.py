"""One attempt of a round: who was invited, what became of each invitation, and when that is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from umbel.rounds import reasons
from umbel.rounds.actions import RoundOutcomes
from umbel.rounds.events import UpdateArrived
from umbel.rounds.terms import Terms

NOT_ELIGIBLE = "DECLINE_NOT_ELIGIBLE"  # the wire's name of the reason


class Part(Enum):
    """What became of an invitation."""

    TRAINING = auto()
    FULL = auto()
    PARTIAL = auto()
    DECLINED = auto()
    REJECTED = auto()
    REMOVED = auto()  # no longer a member


@dataclass(slots=True)
class Invitation:
    examples: int
    part: Part = Part.TRAINING
    reason: str = ""  # of a rejection or a refusal to take part


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt closes. ``deadline``: whether time was up, so that who is still training has timed out."""

    commit: bool
    reason: str
    deadline: bool


@dataclass(slots=True)
class Attempt:
    round: int
    number: int
    deadline: float
    wrap_up_at: float
    goal: int
    quorum: int  # as the job had it when the attempt was opened: a later edit is for later attempts
    invited: dict[str, Invitation]
    wrapped_up: bool = False
    planned: list[int] = field(default_factory=list)  # steps planned, of the accepted updates that say so
    training: dict[str, Invitation] = field(default_factory=dict)  # those of the invited that are still awaited
    members: int = 0  # accepted
    examples: int = 0  # of the accepted
    examples_to_come: int = 0  # of the training

    def __post_init__(self) -> None:
        self.training = dict(self.invited)
        self.examples_to_come = sum(it.examples for it in self.invited.values())

    # ---- what the invited did

    def verdict_on(self, silo: str) -> tuple[str, str] | None:
        """What a further upload of ``silo`` is told; None if its update is still awaited."""
        it = self.invited.get(silo)
        if it is None:
            return "REJECTED", "NOT_IN_COHORT"
        match it.part:
            case Part.TRAINING:
                return None
            case Part.FULL | Part.PARTIAL:
                return "ACCEPTED", ""
            case Part.REJECTED:
                return "REJECTED", it.reason
            case Part.REMOVED:
                return "REJECTED", "NOT_IN_COHORT"
            case Part.DECLINED:
                return "ROUND_CLOSED", ""

    def accept(self, event: UpdateArrived) -> None:
        self.members += 1
        self.examples += self.invited[event.silo].examples
        self.end_part(event.silo, Part.PARTIAL if event.steps_done < event.steps_planned else Part.FULL)
        if event.steps_planned > 0:
            self.planned.append(event.steps_planned)

    def end_part(self, silo: str, part: Part, reason: str = "") -> None:
        """Of one who has answered already, nothing changes."""
        it = self.training.pop(silo, None)
        if it is not None:
            it.part, it.reason = part, reason
            self.examples_to_come -= it.examples

    # ---- whether that is enough

    def verdict(self, terms: Terms, now: float, all_gone_at: float | None) -> Verdict | None:
        """None: go on waiting. ``all_gone_at``: when the last of the training is gone; None: one is connected.

        Closes at once on the goal, and as soon as nobody is left who could still change the outcome: with the quorum
        everybody else declined, was refused or is gone; without it, also when those who could still come are too few.
        An attempt that can only fail is abandoned then and there rather than at the deadline.
        """
        enough = self.members >= self.quorum and self.examples >= terms.min_examples
        if enough and self.members >= self.goal:
            return Verdict(True, "", False)
        if now >= self.deadline:
            reason = "" if enough else self._shortage(self.members, reasons.QUORUM_NOT_REACHED)
            return Verdict(enough, reason, True)
        if all_gone_at is not None and all_gone_at <= now:
            reason = "" if enough else self._shortage(self.members, reasons.QUORUM_LOST)
            return Verdict(enough, reason, False)
        most = self.members + len(self.training)
        if most < self.quorum or self.examples + self.examples_to_come < terms.min_examples:
            return Verdict(False, self._shortage(most, reasons.QUORUM_LOST), False)
        return None

    def lacked_only_the_ineligible(self, terms: Terms, *, deadline: bool, connected: Callable[[str], bool]) -> bool:
        """Whether the quorum could be had but for silos whose own rules kept them away: nothing is wrong with the job.
        ``deadline``: it was closed by that, and who is still training is too late."""
        away = [it for it in self.invited.values() if it.part is Part.DECLINED and it.reason == NOT_ELIGIBLE]
        coming = [] if deadline else [it for silo, it in self.training.items() if connected(silo)]
        members = self.members + len(away) + len(coming)
        examples = self.examples + sum(it.examples for it in (*away, *coming))
        return bool(away) and members >= self.quorum and examples >= terms.min_examples

    def _shortage(self, members: int, of_members: str) -> str:
        return of_members if members < self.quorum else reasons.TOO_FEW_EXAMPLES

    def wakes(self, all_gone_at: float | None) -> list[float]:
        """Every moment at which `verdict` or the wrap-up may change without an event."""
        moments = [self.deadline] if self.wrapped_up else [self.deadline, self.wrap_up_at]
        return moments if all_gone_at is None else [*moments, all_gone_at]

    def outcomes(self, *, deadline: bool, connected: Callable[[str], bool], queued: Collection[str]) -> RoundOutcomes:
        """Counts at the close. Who was training when the goal was reached is in ``invited`` only. ``queued``: nobody
        who is connected."""
        parts = Counter(it.part for it in self.invited.values())
        present = sum(map(connected, self.training))
        return RoundOutcomes(
            invited=len(self.invited),
            full=parts[Part.FULL],
            partial=parts[Part.PARTIAL],
            declined=parts[Part.DECLINED],
            rejected=dict(Counter(it.reason for it in self.invited.values() if it.part is Part.REJECTED)),
            timed_out=present if deadline else 0,
            lost=parts[Part.REMOVED] + parts[Part.TRAINING] - present,
            queued=sum(silo in queued for silo in self.training),
        )


def open_attempt(terms: Terms, round: int, number: int, goal: int, cohort: Mapping[str, int], now: float) -> Attempt:
    deadline = now + terms.timeout
    invited = {silo: Invitation(examples) for silo, examples in cohort.items()}
    return Attempt(round, number, deadline, deadline - terms.grace, goal, terms.quorum, invited)


def rescale(terms: Terms, event: UpdateArrived) -> float | None:
    """What to multiply an update's trained components by; None: partial work is refused.

    min(planned/done, rescaleCap) under Rescale. An update of unknown plan, and gradients, are taken as they are.
    """
    whole = event.steps_planned <= 0 or event.steps_done >= event.steps_planned
    if whole or event.gradients or terms.partial_updates == "AsIs":
        return 1.0
    if terms.partial_updates == "Refuse":
        return None
    return min(event.steps_planned / event.steps_done, terms.rescale_cap) if event.steps_done > 0 else terms.rescale_cap
