"""Whether the bytes of an update may be added at all: finite, in range. One pass, most of it a dot product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, bound_of
from umbel.wire.layout import Array, Layout

NOT_FINITE = "NOT_FINITE"
OUT_OF_RANGE = "OUT_OF_RANGE"

# The error of a sum of squares in float32 is below BLOCK·2⁻²⁴ of it, however it is summed.
CERTAIN = 1 - 2.0**-7


@dataclass(frozen=True, slots=True)
class Examined:
    """``norm``: 2-norm of the trained components; ``fault``: a name of the wire's RejectReason, or None."""

    norm: float
    fault: str | None


def examine(update: NDArray[np.uint8], layout: Layout, max_abs: float) -> Examined:
    """Look at every component of an update.

    No component of a block exceeds the root of its sum of squares, so a block is looked at one by one only when that
    root comes near the limit.
    """
    squares = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for region in layout.regions:
            limit = bound_of(region, max_abs)
            values = region.of(update)
            for start in range(0, region.count, BLOCK):
                square, fault = _block(values[start : start + BLOCK], limit)
                if fault:
                    return Examined(0.0, fault)
                squares += square if region.trained else 0.0
    return Examined(math.sqrt(squares), None)


def _block(block: Array, limit: float) -> tuple[float, str | None]:
    """(sum of squares, fault); the sum is 0 for integers."""
    if block.dtype.kind == "i":
        beyond = int(block.min()) < -limit or int(block.max()) > limit
        return 0.0, OUT_OF_RANGE if beyond else None
    square = float(np.dot(block, block))
    if square <= limit * limit * CERTAIN:
        return square, None
    # A square that overflowed may come of finite values; one that is finite cannot come of others.
    if not math.isfinite(square) and not np.isfinite(block).all():
        return square, NOT_FINITE
    if max(-float(block.min()), float(block.max())) > limit:
        return square, OUT_OF_RANGE
    if not math.isfinite(square):
        wide = block.astype(np.float64)
        square = float(np.dot(wide, wide))
    return square, None
