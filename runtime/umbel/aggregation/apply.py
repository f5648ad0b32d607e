"""From the closed sum to the next model, block by block, in place if wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, Accumulator
from umbel.aggregation.checks import is_finite
from umbel.aggregation.strategy import Aggregate, Floats, Strategy
from umbel.wire.layout import Layout, Region

Bytes = NDArray[np.uint8]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Applied:
    """``finite``: whether every component of the new model is; ``norm``: of the trained components' mean."""

    finite: bool
    norm: float


def next_model(
    model: Bytes, down: Layout, accumulator: Accumulator, strategy: Strategy, aggregate: Aggregate, out: Bytes
) -> Applied:
    """Write the new model to ``out``, which may be ``model``; it is no model where the answer is not finite.

    Trained components move by the strategy's step, buffers and integers by the plain mean, rounded for integers.
    """
    up = accumulator.layout
    strategy.begin_step(aggregate, sum(r.count for r in up.regions if r.trained))
    finite, squares, done = True, 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        for index, region in enumerate(up.regions):
            for start, old, new in _blocks(region, down, up, model, out):
                stop = start + len(old)
                change = accumulator.mean(index, start, stop)
                if region.trained:
                    squares += float(np.dot(change, change))
                    change = strategy.step(aggregate, change, slice(done + start, done + stop))
                finite &= _move(old, change, new)
            if region.trained:
                done += region.count
    return Applied(finite, math.sqrt(squares))


def _move(old: Values, change: Floats, new: Values) -> bool:
    """new ← old + change, whose array serves as scratch; whether it is finite."""
    if new.dtype.kind == "f":
        change += old
        new[...] = change
        return is_finite(new)
    new[...] = _integers(old, change)
    return True


def _integers(old: Values, change: Floats) -> NDArray[np.int64]:
    """old + change, rounded half to even and kept within the type of ``old``.

    The addition is of integers: float64 has too few digits for a large int64. |change| ≤ 10¹², so that nothing but an
    int64 can leave 64 bits.
    """
    wide: NDArray[np.int64] = old.astype(np.int64)
    odd = wide & 1  # half to even goes by the sum
    steps = np.rint(change + odd).astype(np.int64) - odd
    widest = np.iinfo(np.int64)
    steps = np.clip(steps, widest.min - np.minimum(wide, 0), widest.max - np.maximum(wide, 0))
    low, high = (0, 1) if old.dtype.kind == "b" else (np.iinfo(old.dtype).min, np.iinfo(old.dtype).max)
    wide += steps
    return np.clip(wide, low, high, out=wide)


def _blocks(region: Region, down: Layout, up: Layout, model: Bytes, out: Bytes) -> Iterator[tuple[int, Values, Values]]:
    """(start within the region, old, new) of at most `BLOCK` values each."""
    for place, old, new in _runs(region, down, up, model, out):
        for start in range(0, len(old), BLOCK):
            yield place + start, old[start : start + BLOCK], new[start : start + BLOCK]


def _runs(region: Region, down: Layout, up: Layout, model: Bytes, out: Bytes) -> Iterator[tuple[int, Values, Values]]:
    """The whole region if it is of floats: the model has the same one. Else tensor by tensor: an update's integers are
    all int64, the model's have their own types and places."""
    if region.dtype.startswith("float"):
        (same,) = [r for r in down.regions if (r.dtype, r.buffer) == (region.dtype, region.buffer)]
        yield 0, same.of(model), same.of(out)
        return
    olds, news, place = down.views(model), down.views(out), 0
    for tensor in up.tensors:
        if (tensor.dtype, tensor.buffer) == (region.dtype, region.buffer):
            yield place, olds[tensor.name].reshape(-1), news[tensor.name].reshape(-1)
            place += tensor.count
