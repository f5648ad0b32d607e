"""Counting local steps, and stopping at WrapUp.

Partial work is scaled by steps done of steps planned, so both must be right: a step counts once its batch was handed
out and the loop came back, or left.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Batch = TypeVar("Batch", covariant=True)


@dataclass(eq=False)
class Progress:
    """Of one task. Written by the user's thread; ``stop`` is set by the session's. ``ask``: asked instead of ``stop``
    where several ranks have to stop at the same step."""

    done: int = 0
    planned: int = 0  # 0: unknown
    open_ended: bool = False  # a loop of unknown length began: the plan stays unknown
    stop: threading.Event = field(default_factory=threading.Event)
    ask: Callable[[], bool] | None = None

    def stop_here(self) -> bool:
        return self.stop.is_set() if self.ask is None else self.ask()

    @property
    def partial(self) -> bool:
        return self.planned > self.done

    def plan(self, steps: int | None) -> None:
        """Add to what is planned; None is a loop that does not know its length."""
        if steps is None:
            self.open_ended, self.planned = True, 0
        elif not self.open_ended:
            self.planned += steps

    def report(self, done: int, planned: int | None) -> None:
        """Counted by the user himself: replaces what was counted so far."""
        if done < 0 or (planned is not None and planned < done):
            raise ValueError(f"progress({done}, {planned}): needs 0 ≤ done ≤ planned")
        self.done, self.planned = done, planned or 0

    def walk(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, each counted as a step, ending early once ``stop`` is set."""
        for batch in batches:
            if self.stop_here():
                return
            try:
                yield batch
            finally:
                self.done += 1

    def steps(self, loader: Iterable[Batch], epochs: int) -> Iterator[Batch]:
        """``epochs`` passes over ``loader``, one batch after another."""
        return itertools.chain.from_iterable(self.epochs(loader, epochs))

    def epochs(self, loader: Iterable[Batch], epochs: int) -> Iterator[Batches[Batch]]:
        """``epochs`` passes over ``loader``, one after another; the plan is epochs × len(loader) if it has a length."""
        if epochs < 0:
            raise ValueError(f"epochs is {epochs}; it must be 0 or more")
        self.plan(epochs * len(loader) if isinstance(loader, Sized) else None)
        return (Batches(loader, self) for _ in itertools.takewhile(lambda _: not self.stop_here(), range(epochs)))


class Batches(Generic[Batch]):
    """One pass over a loader that counts its steps and ends at WrapUp; for the rest it is the loader."""

    def __init__(self, loader: Iterable[Batch], progress: Progress) -> None:
        self._loader = loader
        self._progress = progress

    def __iter__(self) -> Iterator[Batch]:
        return self._progress.walk(self._loader)

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]  # a loader without a length says so itself

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
