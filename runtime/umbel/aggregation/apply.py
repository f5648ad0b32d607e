"""From the closed sum to the next model, block by block, in place if wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, Accumulator, Floats
from umbel.aggregation.strategy import Aggregate, Strategy
from umbel.wire.layout import Array, Layout, Region


@dataclass(frozen=True, slots=True)
class Applied:
    """``finite``: whether every component of the new model is; ``norm``: of the trained components' mean."""

    finite: bool
    norm: float


def next_model(
    model: NDArray[np.uint8],
    down: Layout,
    accumulator: Accumulator,
    strategy: Strategy,
    aggregate: Aggregate,
    out: NDArray[np.uint8],
) -> Applied:
    """Write the new model to ``out``, which may be ``model``, and empty the accumulator's sums. Trained components move
    by the strategy's step, buffers by the plain mean; integers are rounded and kept within their type."""
    up = accumulator.layout
    strategy.begin_step(aggregate, sum(r.count for r in up.regions if r.trained))
    finite, squares, done = True, 0.0, 0
    # A sum beyond float64, or a strategy's division by zero, shows as a model that is not finite.
    with np.errstate(all="ignore"):
        for index, region in enumerate(up.regions):
            for start, stop, old, new in _pieces(region, down, up, model, out):
                mean = accumulator.take(index, start, stop)
                if region.trained:
                    squares += float(np.dot(mean, mean))
                    mean = strategy.step(aggregate, mean, slice(done + start, done + stop))
                finite &= _move(old, mean, new)
            if region.trained:
                done += region.count
    return Applied(finite, math.sqrt(squares))


def _move(old: Array, change: Floats, new: Array) -> bool:
    """new ← old + change; whether all of it is finite."""
    if new.dtype.kind == "f":
        np.add(change, old, out=change, dtype=np.float64)
        np.copyto(new, change, casting="same_kind")
        # The square of a finite value may overflow; a finite sum of squares has none that is not.
        return math.isfinite(float(np.dot(new, new))) or bool(np.isfinite(new).all())
    np.copyto(new, _integers(old, change), casting="unsafe")
    return True


def _integers(old: Array, change: Floats) -> NDArray[np.int64]:
    """old + change, rounded half to even and within the type of ``old``; exact where float64 is too short for ``old``.

    |change| ≤ 10¹², so only an int64 can leave its type in the addition.
    """
    wide = old.astype(np.int64)
    odd = wide & 1
    steps = np.rint(change + odd).astype(np.int64) - odd
    widest = np.iinfo(np.int64)
    steps = np.clip(steps, widest.min - np.minimum(wide, 0), widest.max - np.maximum(wide, 0))
    low, high = (0, 1) if old.dtype.kind == "b" else (np.iinfo(old.dtype.name).min, np.iinfo(old.dtype.name).max)
    return np.clip(wide + steps, low, high)


def _pieces(
    region: Region, down: Layout, up: Layout, model: NDArray[np.uint8], out: NDArray[np.uint8]
) -> Iterator[tuple[int, int, Array, Array]]:
    """(start, stop within the region, old, new): blocks of a float region; blocks of every tensor of an integer one,
    since integers have their own types and places in the model's layout."""
    if region.dtype.startswith("float"):
        (same,) = [r for r in down.regions if (r.dtype, r.buffer) == (region.dtype, region.buffer)]
        yield from _blocks(0, same.of(model), same.of(out))
        return
    olds, news, place = down.views(model), down.views(out), 0
    for tensor in up.tensors:
        if (tensor.dtype, tensor.buffer) == (region.dtype, region.buffer):
            yield from _blocks(place, olds[tensor.name].reshape(-1), news[tensor.name].reshape(-1))
            place += tensor.count


def _blocks(place: int, old: Array, new: Array) -> Iterator[tuple[int, int, Array, Array]]:
    for start in range(0, len(old), BLOCK):
        stop = min(start + BLOCK, len(old))
        yield place + start, place + stop, old[start:stop], new[start:stop]
