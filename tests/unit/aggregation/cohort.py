"""A small cohort: what silos send, and a round of it through the real checks and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel import rules
from umbel.aggregation.checks import examine
from umbel.aggregation.round import Outcome, RoundAggregation
from umbel.aggregation.strategies import create
from umbel.aggregation.strategy import RoundStart, Strategy, UpdateFacts
from umbel.wire.layout import Layout

Bytes = NDArray[np.uint8]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Sent:
    """One silo's update: ``arrays`` as in the upward layout."""

    arrays: Arrays
    examples: int = 1
    done: int = 1
    planned: int = 1
    loss: float = 1.0
    rescale: float = 1.0


def built_in(name: str, **parameters: float) -> Strategy:
    """A rule under the weighting that it forces, Examples where it forces none."""
    return create(name, parameters, rules.BUILT_IN[name].forces.get("strategy.weighting", "Examples"))


class Server:
    """One model under one rule. ``max_abs`` 1 unless told, so that the grid is as fine as it gets."""

    def __init__(
        self, strategy: Strategy, arrays: Arrays, buffers: Sequence[str] = (), *, max_abs: float = 1.0, cap: float = 1.0
    ) -> None:
        self.down = Layout.of(arrays, buffers)
        self.up = self.down.upward()
        self.model = self.down.empty()
        self.down.pack(arrays, self.model)
        self.max_abs = max_abs
        self.strategy = strategy
        self.aggregation = RoundAggregation(self.down, self.up, strategy, max_abs=max_abs, largest_rescale=cap)
        self.rounds = 0

    @property
    def arrays(self) -> Arrays:
        return self.down.views(self.model)

    def bytes_of(self, sent: Sent) -> Bytes:
        update = self.up.empty()
        self.up.pack(sent.arrays, update)
        return update

    def facts(self, sent: Sent, norm: float) -> UpdateFacts:
        return UpdateFacts(sent.examples, sent.done, sent.planned, norm, {"training_loss": sent.loss})

    def open(self, invited: Sequence[Sent], planned: float = 0.0) -> None:
        self.rounds += 1
        examples = sum(sent.examples for sent in invited)
        self.aggregation.open(RoundStart(self.rounds, len(invited), examples, planned))

    def fold(self, sent: Sent) -> None:
        update = self.bytes_of(sent)
        examined = examine(update, self.up, self.max_abs)
        assert examined.fault is None
        self.aggregation.fold(update, self.facts(sent, examined.norm), sent.rescale)

    def finish(self) -> Outcome:
        return self.aggregation.finish(self.model, self.model)

    def round(self, sent: Sequence[Sent], planned: float = 0.0) -> Outcome:
        self.open(sent, planned)
        for one in sent:
            self.fold(one)
        return self.finish()
