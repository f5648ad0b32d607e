"""A weighted sum of updates that is exact, hence the same to the last bit in any order.

Weights are divided by a bound known at the opening, so that they sum to at most 1. With B a bound on what one scaled
component can be and 2^e ≥ B, every product w·d (float64) is rounded to the grid of float64 at 1.5·2^e before it is
added: ``t += M; t −= M``. Sums of such multiples stay below 2^53 steps of the grid, so no addition rounds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from umbel.wire.layout import Layout, Region

BLOCK = 64 * 1024  # values: block, its product and its sum stay in the second-level cache
BUFFER_BOUND = 1e6
INTEGER_BOUND = 1e12

Floats = NDArray[np.float64]


def grid(bound: float) -> float:
    """M of the rounding trick for values up to ``bound`` in magnitude."""
    return 1.5 * 2.0 ** math.ceil(math.log2(bound))


def bound_of(region: Region, trained_bound: float) -> float:
    if region.trained:
        return trained_bound
    return BUFFER_BOUND if region.dtype.startswith("float") else INTEGER_BOUND


class Accumulator:
    """One float64 sum per component of an update's layout, made once and reused from round to round."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.weight = 0.0  # Σ of the weights folded, exact for integer weights below 2^53
        self.members = 0
        self._sums = [np.zeros(region.count) for region in layout.regions]
        self._product = np.empty(BLOCK)
        self._weight_bound = 1.0
        self._trained_bound = 1.0

    def reset(self, *, weight_bound: float, trained_bound: float) -> None:
        """Start a round: ``weight_bound`` ≥ Σ weights to come, ``trained_bound`` ≥ any |scale·component|."""
        for total in self._sums:
            total[:] = 0.0
        self.weight, self.members = 0.0, 0
        self._weight_bound, self._trained_bound = weight_bound, trained_bound

    def fold(self, update: NDArray[np.uint8], weight: float, scale: float, *, wipe: bool = False) -> None:
        """Add one update. ``scale`` applies to trained regions only. ``wipe`` overwrites it block by block, while the
        block is in the cache anyway."""
        share = weight / self._weight_bound
        for region, total in zip(self.layout.regions, self._sums, strict=True):
            factor = share * scale if region.trained else share
            offset = grid(bound_of(region, self._trained_bound))
            values = region.of(update)
            for start in range(0, region.count, BLOCK):
                block = values[start : start + BLOCK]
                product = self._product[: len(block)]
                np.multiply(block, factor, out=product)
                product += offset
                product -= offset
                total[start : start + BLOCK] += product
                if wipe:
                    block[...] = 0
        self.weight += weight
        self.members += 1

    def mean(self, index: int, start: int, stop: int) -> Floats:
        """The weighted mean of components ``start:stop`` of region ``index``; a new array."""
        return self._sums[index][start:stop] * (self._weight_bound / self.weight)
