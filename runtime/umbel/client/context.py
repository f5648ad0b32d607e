"""What a call of the user's code knows about its surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from umbel.client.seeding import sequence
from umbel.client.steps import Batches, Progress

Batch = TypeVar("Batch")
Scalar = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """``path`` is where this silo keeps the data set of that name, if its site says so."""

    name: str
    path: Path | None = None


@dataclass(frozen=True)
class Context:
    """``silo`` and ``dataset.name`` are empty in `Client.initial`, which runs at the server. ``round`` is 0 outside a
    round. ``state_dir`` survives a restart of the silo's process; None at the server.

    Where one client is several processes that train together, ``rank`` (``local_rank`` on its node) of ``world_size``
    is this one, and ``rendezvous`` (``tcp://host:port``) where their libraries may meet. All draw the same random
    numbers, and all stop at the same step."""

    silo: str = ""
    dataset: Dataset = Dataset("")
    config: Mapping[str, Scalar] = field(default_factory=dict)
    seed: int = 0
    round: int = 0
    state_dir: Path | None = None
    strategy: str = ""
    strategy_parameters: Mapping[str, float] = field(default_factory=dict)
    _progress: Progress = field(default_factory=Progress, repr=False)
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    rendezvous: str = ""

    @cached_property
    def generator(self) -> np.random.Generator:
        """Seeded by (job's seed, round, silo): a repeated attempt draws the same numbers."""
        return np.random.default_rng(sequence(self.seed, self.round, self.silo))

    @property
    def should_stop(self) -> bool:
        """The round is about to close, or goes on without this silo: return what there is."""
        return self._progress.stop_here()

    def steps(self, loader: Iterable[Batch], epochs: int = 1) -> Iterator[Batch]:
        """The batches of ``loader``, ``epochs`` times over. Ends early at WrapUp and counts steps done and planned
        (epochs × len(loader); unknown for a loader without a length). Begin it once a round, with all its epochs."""
        return self._progress.steps(loader, epochs)

    def epochs(self, loader: Iterable[Batch], epochs: int = 1) -> Iterator[Batches[Batch]]:
        """Like `steps`, but pass by pass: hand each to a function that trains over a loader once."""
        return self._progress.epochs(loader, epochs)

    def progress(self, done: int, planned: int | None = None) -> None:
        """For a loop of one's own instead of `steps`: how many steps are done, of how many."""
        self._progress.report(done, planned)
