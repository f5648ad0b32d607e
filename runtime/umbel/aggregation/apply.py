"""From the closed sum to the next model, block by block, in place if wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, Accumulator
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
    """Write the new model to ``out``, which may be ``model``. Trained components move by the strategy's step, buffers by
    the plain mean; integers are rounded and kept within their type."""
    up = accumulator.layout
    strategy.begin_step(aggregate, sum(r.count for r in up.regions if r.trained))
    finite, squares, done = True, 0.0, 0
    for index, region in enumerate(up.regions):
        for start, stop, old, new in _pieces(region, down, up, model, out):
            mean = accumulator.mean(index, start, stop)
            if region.trained:
                squares += float(np.dot(mean, mean))
                mean = strategy.step(aggregate, mean, slice(done + start, done + stop))
            finite &= _move(old, mean, new)
        if region.trained:
            done += region.count
    return Applied(finite, math.sqrt(squares) if squares >= 0 else math.nan)


def _move(old: Array, change: NDArray[np.float64], new: Array) -> bool:
    change += old
    if new.dtype.kind == "f":
        with np.errstate(over="ignore"):
            new[...] = change
        return bool(np.isfinite(new).all())
    np.rint(change, out=change)
    if new.dtype.kind == "b":
        new[...] = change > 0.5
    else:
        limits = np.iinfo(new.dtype)
        # The largest int64 is no float64: clip below the next one.
        np.clip(change, float(limits.min), np.nextafter(float(limits.max), 0.0), out=change)
        new[...] = change.astype(new.dtype)
    return True


def _pieces(
    region: Region, down: Layout, up: Layout, model: NDArray[np.uint8], out: NDArray[np.uint8]
) -> list[tuple[int, int, Array, Array]]:
    """(start, stop within the region, old, new): blocks of a float region; tensors of an integer one, since integers
    have their own types and places in the model's layout."""
    if region.dtype.startswith("float"):
        (same,) = [r for r in down.regions if (r.dtype, r.buffer) == (region.dtype, region.buffer)]
        old, new = same.of(model), same.of(out)
        starts = range(0, region.count, BLOCK)
        return [(s, min(s + BLOCK, region.count), old[s : s + BLOCK], new[s : s + BLOCK]) for s in starts]
    olds, news, place = down.views(model), down.views(out), 0
    pieces = []
    for tensor in up.tensors:
        if (tensor.dtype, tensor.buffer) == (region.dtype, region.buffer):
            old, new = olds[tensor.name].reshape(-1), news[tensor.name].reshape(-1)
            pieces.append((place, place + tensor.count, old, new))
            place += tensor.count
    return pieces
