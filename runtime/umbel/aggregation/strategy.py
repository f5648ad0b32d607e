"""The contract of an update rule.

A strategy sees aggregates only: it says how much each update weighs and how it is scaled before it is added, and what
becomes of the sum. It never holds an update. A rule of one's own is a subclass, named ``module:Class`` in
``spec.strategy.name``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class StrategyError(ValueError):
    """Unknown strategy or parameter, or a value out of its range. The text names the field, the fault, the remedy."""


@dataclass(frozen=True, slots=True)
class RoundStart:
    """What is known when a round opens. ``examples``: of every invited member, in no order that means anything."""

    round: int
    members: int
    examples: int
    planned_steps: float


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What a rule may know of one update: numbers, never its origin.

    ``norm``: 2-norm of the trained components, rescaled where partial work is. ``scalars``: those that
    `Strategy.scalars` names, float64.
    """

    examples: int
    steps_done: int
    steps_planned: int
    norm: float
    scalars: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Admission:
    """How an update enters the sums.

    ``weight``: before normalisation, > 0; the sum of weights of all invited must be known as `Strategy.weight_bound`.
    ``scale``: multiplies the trained components, |scale| ≤ `Strategy.scale_bound`.
    ``sums``: added to the round's named scalar sums.
    """

    weight: float
    scale: float = 1.0
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A closed round: Σ weight over what was accepted, and the named scalar sums."""

    weight: float
    members: int
    sums: Mapping[str, float]


class Strategy(ABC):
    """One update rule with its parameters: four verbs (configure, admit, step and what is around it, state).

    ``defaults`` names the parameters of a rule of one's own (None: must be given); those of built-in rules are in
    `umbel.rules`. ``scalars`` names what every update must bring beside its bytes. ``forces``: fields below spec ->
    the one value under which the rule is right ({"rounds.partialUpdates": "AsIs"}).
    """

    defaults: ClassVar[Mapping[str, float | None]] = {}
    scalars: ClassVar[frozenset[str]] = frozenset()
    forces: ClassVar[Mapping[str, str]] = {}

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        self.parameters = dict(parameters)
        self.uniform = weighting == "Uniform"

    def weight_of(self, facts: UpdateFacts) -> float:
        """As ``spec.strategy.weighting`` says: the examples declared, or 1."""
        return 1.0 if self.uniform else float(facts.examples)

    @abstractmethod
    def configure(self, start: RoundStart) -> None:
        """A round opens: fix what depends on the cohort (bounds, references)."""

    @abstractmethod
    def weight_bound(self) -> float:
        """Σ weight if everybody invited returns; weights are divided by it to be ≤ 1."""

    def scale_bound(self) -> float:
        """The largest |scale| that `admit` returns in this round; part of the grid's bound."""
        return 1.0

    @abstractmethod
    def admit(self, facts: UpdateFacts) -> Admission:
        """Weigh one update; changes nothing. Raises StrategyError to refuse it (the round goes on without).

        Whether it refuses must not depend on ``facts.examples``: it is asked before the update is counted, too.
        """

    @abstractmethod
    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        """What to add to the trained components ``where`` of the model, given the weighted mean of the scaled updates
        there (float64, scratch: may be overwritten, must not be kept). Called block by block in order, once a block
        and round."""

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:  # noqa: B027, most rules have nothing to do
        """Before the first block of a round: ``trained`` is the number of trained components."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Arrays that must survive a restart (momentum …), by name; they go into the checkpoint. Not copies: the next
        step changes them."""
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what `state` gave; {} is the state before the first step."""
        if state:
            raise StrategyError(f"the checkpoint holds {sorted(state)[0]!r}, which {type(self).__name__} does not know")
