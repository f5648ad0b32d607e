"""Whether the bytes of an update may be added at all: finite, in range. One pass, most of it a dot product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, bound_of
from umbel.wire.layout import Layout

NOT_FINITE = "NOT_FINITE"
OUT_OF_RANGE = "OUT_OF_RANGE"

# A float32 sum of squares of one block is never this far below the true one.
ROUNDING = 0.99


@dataclass(frozen=True, slots=True)
class Examined:
    """``norm``: 2-norm of the trained components; ``fault``: a name of the wire's RejectReason, or None."""

    norm: float
    fault: str | None


def examine(update: NDArray[np.uint8], layout: Layout, max_abs: float) -> Examined:
    """Look at every component of an update.

    No component of a block exceeds the root of its sum of squares, and that sum is not finite if one of them is not:
    so a block is looked at more closely only when the sum is beyond the limit's square.
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
                if region.trained:
                    squares += square
    return Examined(math.sqrt(squares), None)


def is_finite(block: NDArray[np.floating]) -> bool:
    """Whether every value is; usually at the price of a dot product."""
    return math.isfinite(np.dot(block, block)) or bool(np.isfinite(block).all())


def _block(block: NDArray[np.generic], limit: float) -> tuple[float, str | None]:
    """(sum of squares, fault); the sum of integers is of no use and 0."""
    if not np.issubdtype(block.dtype, np.floating):
        beyond = int(block.min()) < -limit or int(block.max()) > limit
        return 0.0, OUT_OF_RANGE if beyond else None
    square = float(np.dot(block, block))
    if square <= ROUNDING * limit * limit:
        return square, None
    if not np.isfinite(block).all():
        return square, NOT_FINITE
    if max(-float(block.min()), float(block.max())) > limit:
        return square, OUT_OF_RANGE
    exact = block.astype(np.float64)
    return float(np.dot(exact, exact)), None
