"""A weighted sum of updates that is exact, hence the same to the last bit in any order.

Weights are divided by a bound known at the opening, so that they sum to at most 1; B bounds what one scaled component
can be, and 2^e ≥ B. Adding M = 1.5·2^(e+1) to a product w·d (float64, magnitude ≤ 2^e) rounds it to a whole number of
steps of 2^(e−51), and leaves that number in the low bits of the result: its bit pattern is the pattern of M plus the
number. Patterns are added as integers, modulo 2^64, which no order of addition can change; at the end the patterns of M
are taken off again. The sum of the products stays within ±2^e, so it is read back by the same trick.

What the rounding takes from a product, at most 2^(e−52), is far below float32 for trained components. Buffers and
integers are few and have much wider bounds: what is taken from those is summed as well, in finer steps.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from umbel.wire.layout import Layout, Region

BLOCK = 64 * 1024  # values: a block and its products stay in the second-level cache
BUFFER_BOUND = 1e6
INTEGER_BOUND = 1e12
REST = 2.0**-32  # M of what was rounded away, over M: 2^20 updates fit in

Floats = NDArray[np.float64]


def magic(bound: float) -> float:
    """M of the rounding trick for values up to ``bound`` in magnitude."""
    mantissa, exponent = math.frexp(bound)  # bound = mantissa · 2^exponent, 0.5 ≤ mantissa < 1
    return 1.5 * 2.0 ** (exponent if mantissa == 0.5 else exponent + 1)


def bound_of(region: Region, trained_bound: float) -> float:
    """What no component of the region may exceed."""
    if region.trained:
        return trained_bound
    return BUFFER_BOUND if region.dtype.startswith("float") else INTEGER_BOUND


class Accumulator:
    """One 8-byte sum per component of an update's layout, made once and reused from round to round."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._sums = [np.zeros(region.count, dtype=np.int64) for region in layout.regions]
        self._rests = [np.zeros(0 if region.trained else region.count, dtype=np.int64) for region in layout.regions]
        self._block = np.empty(BLOCK)
        self._rounded = np.empty(BLOCK)
        self.members = 0
        self._weight = Fraction()
        self._weight_bound = 1.0
        self._magic = [1.5 for _ in layout.regions]

    @property
    def weight(self) -> float:
        """Σ of the weights folded; summed without rounding, so it too is the same in any order."""
        return float(self._weight)

    def reset(self, *, weight_bound: float, trained_bound: float) -> None:
        """Start a round: ``weight_bound`` ≥ Σ weights to come, ``trained_bound`` ≥ any |scale·component|.

        Costs nothing: the first update to be folded overwrites what is left of the last round.
        """
        self.members, self._weight = 0, Fraction()
        self._weight_bound = weight_bound
        self._magic = [magic(bound_of(region, trained_bound)) for region in self.layout.regions]

    def fold(self, update: NDArray[np.uint8], weight: float, scale: float = 1.0, *, wipe: bool = False) -> None:
        """Add one update. ``scale`` applies to trained regions only. ``wipe`` overwrites it block by block, while the
        block is in the cache anyway."""
        share = weight / self._weight_bound
        for index, region in enumerate(self.layout.regions):
            factor = share * scale if region.trained else share
            values = region.of(update)
            for start in range(0, region.count, BLOCK):
                block = slice(start, start + BLOCK)
                self._add(values[block], factor, index, block)
                if wipe:
                    values[block] = 0
        self.members += 1
        self._weight += Fraction(weight)
        self._block[:] = self._rounded[:] = 0.0  # the last products would tell of this update

    def _add(self, values: NDArray[np.generic], factor: float, index: int, block: slice) -> None:
        total, offset = self._sums[index][block], self._magic[index]
        products = self._block[: len(values)]
        products[...] = values  # to float64 before multiplying: a float32 product would be rounded twice
        products *= factor
        if self.layout.regions[index].trained:
            products += offset
            self._sum(products, total)
            return
        rounded = np.add(products, offset, out=self._rounded[: len(values)])
        self._sum(rounded, total)
        rounded -= offset
        products -= rounded  # exact
        products += offset * REST
        self._sum(products, self._rests[index][block])

    def _sum(self, products: Floats, total: NDArray[np.int64]) -> None:
        """The first update overwrites what another round left."""
        if self.members == 0:
            total[...] = products.view(np.int64)
        else:
            total += products.view(np.int64)

    def mean(self, index: int, start: int, stop: int) -> Floats:
        """The weighted mean of components ``start:stop`` (at most `BLOCK`) of region ``index``. At least one update has
        been folded. The array is scratch: the next call overwrites it."""
        mean = self._read(self._sums[index][start:stop], self._magic[index], self._block)
        if not self.layout.regions[index].trained:
            mean += self._read(self._rests[index][start:stop], self._magic[index] * REST, self._rounded)
        mean *= self._weight_bound / self.weight
        return mean

    def _read(self, total: NDArray[np.int64], offset: float, out: Floats) -> Floats:
        out = out[: len(total)]
        np.subtract(total, _pattern(offset, self.members - 1), out=out.view(np.int64))
        out -= offset
        return out

    def clear(self) -> None:
        """Forget the sums, for good: those of a few updates must not outlive an abandoned round."""
        for total in (*self._sums, *self._rests):
            total[:] = 0
        self.members, self._weight = 0, Fraction()


def _pattern(value: float, times: int) -> int:
    """``times`` the bit pattern of ``value``, modulo 2^64, as an int64."""
    pattern = int(struct.unpack("<q", struct.pack("<d", value))[0]) * times
    return (pattern + 2**63) % 2**64 - 2**63
