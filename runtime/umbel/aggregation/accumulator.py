"""A weighted sum of updates that is exact, hence the same to the last bit in any order.

Weights are divided by a bound known at the opening, so that they sum to less than 1. With 2^e at or above any scaled
component, every product w·d (float64) is rounded to the grid of float64 at 1.5·2^e before it is added:
``t += M; t −= M``. That grid is nowhere finer than 2^(e−53), and no sum reaches 2^e, so no addition rounds.

What the rounding takes from a product, at most 2^(e−52), is small beside float32 for trained components. Buffers and
integers have far wider bounds, so what is taken from those is summed as well, on a finer grid; they are few.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from umbel.wire.layout import Array, Layout, Region

BLOCK = 64 * 1024  # values: block, its product and its sum stay in the second-level cache
BUFFER_BOUND = 1e6
INTEGER_BOUND = 1e12
SLACK = 1 + 2.0**-20  # keeps sums below 2^e when everybody sends the bound and every product is rounded up
REST_BITS = 20  # so many bits of room for the sum of what was rounded away: a million updates

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
        self._sums = [np.zeros(region.count) for region in layout.regions]
        self._rests = [np.zeros(0 if region.trained else region.count) for region in layout.regions]
        self._product = np.empty(BLOCK)
        self._rounded = np.empty(BLOCK)
        self._weights: list[float] = []
        self._held = 0  # components that may not be zero
        self._weight_bound = SLACK
        self._trained_bound = 1.0

    @property
    def members(self) -> int:
        return len(self._weights)

    @property
    def weight(self) -> float:
        """Σ of the weights folded, correctly rounded whatever their order."""
        return math.fsum(self._weights)

    def clear(self) -> None:
        """Forget every update folded so far."""
        if self._held:
            for array in (*self._sums, *self._rests):
                array[:] = 0.0
        self._held = 0
        self._weights.clear()

    def reset(self, *, weight_bound: float, trained_bound: float) -> None:
        """Start a round: ``weight_bound`` ≥ Σ weights to come, ``trained_bound`` ≥ any |scale·component|."""
        self.clear()
        self._weight_bound, self._trained_bound = weight_bound * SLACK, trained_bound

    def fold(self, update: NDArray[np.uint8], weight: float, scale: float, *, wipe: bool = False) -> None:
        """Add one update. ``scale`` applies to trained regions only. ``wipe`` overwrites it block by block, while the
        block is in the cache anyway."""
        share = weight / self._weight_bound
        self._held = sum(region.count for region in self.layout.regions)
        for region, total, rest in zip(self.layout.regions, self._sums, self._rests, strict=True):
            factor = share * scale if region.trained else share
            offset = grid(bound_of(region, self._trained_bound))
            values = region.of(update)
            for start in range(0, region.count, BLOCK):
                where = slice(start, start + BLOCK)
                self._add(values[where], factor, offset, total[where], rest[where])
                if wipe:
                    values[where] = 0
        self._weights.append(weight)

    def _add(self, values: Array, factor: float, offset: float, total: Floats, rest: Floats) -> None:
        product = self._product[: len(values)]
        # First widened, then multiplied: float32 times a Python float would be rounded to float32.
        np.copyto(product, values)
        product *= factor
        if not len(rest):
            product += offset
            product -= offset
            total += product
            return
        rounded = np.add(product, offset, out=self._rounded[: len(values)])
        rounded -= offset
        total += rounded
        product -= rounded  # exact
        finer = offset * 2.0 ** (REST_BITS - 52)
        product += finer
        product -= finer
        rest += product

    def take(self, index: int, start: int, stop: int) -> Floats:
        """The weighted mean of components ``start:stop`` of region ``index``, at most `BLOCK` of them; they are zero
        afterwards. The array is the caller's to overwrite, until the next `take` or `fold`."""
        factor = self._weight_bound / self.weight
        total, rest = self._sums[index][start:stop], self._rests[index][start:stop]
        mean = np.multiply(total, factor, out=self._product[: stop - start])
        total[:] = 0.0
        if len(rest):
            rest *= factor
            mean += rest
            rest[:] = 0.0
        self._held -= stop - start
        return mean
