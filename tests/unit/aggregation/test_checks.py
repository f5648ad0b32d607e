"""What is refused for its bytes alone: NaN, infinities, components beyond their bound, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK
from umbel.aggregation.checks import NOT_FINITE, OUT_OF_RANGE, examine
from umbel.wire.layout import Layout

SIZE = BLOCK + 7  # more than one block
SPECS = [
    ("weight", "float32", (SIZE,), False),
    ("scale", "float64", (SIZE,), False),
    ("mean", "float32", (SIZE,), True),
    ("variance", "float64", (SIZE,), True),
    ("count", "int64", (SIZE,), True),
    ("table", "int64", (SIZE,), False),
]
LAYOUT = Layout.build(SPECS)
FLOATS = ("weight", "scale", "mean", "variance")
LIMITS = {"weight": 2.0, "scale": 2.0, "mean": 1e6, "variance": 1e6, "count": 1e12, "table": 1e12}


def fault(name: str, where: int, value: Any) -> str | None:
    buffer = LAYOUT.empty()
    LAYOUT.views(buffer)[name][where] = value
    return examine(buffer, LAYOUT, 2.0).fault


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("where", [0, BLOCK - 1, BLOCK, SIZE - 1])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite(name: str, where: int, value: float) -> None:
    assert fault(name, where, value) == NOT_FINITE


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_component_at_its_bound_is_taken_and_the_next_one_is_not(name: str, sign: int) -> None:
    limit: Any = LAYOUT.views(LAYOUT.empty())[name].dtype.type(sign * LIMITS[name])
    beyond = limit + sign if limit.dtype.kind == "i" else np.nextafter(limit, sign * np.inf, dtype=limit.dtype)
    assert fault(name, BLOCK, limit) is None
    assert fault(name, BLOCK, beyond) == OUT_OF_RANGE


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1])
def test_the_ends_of_int64(value: int) -> None:
    assert fault("count", 3, value) == OUT_OF_RANGE


@pytest.mark.parametrize(("name", "value"), [("weight", 3e38), ("scale", -1.7e308)])
def test_squares_that_overflow(name: str, value: float) -> None:
    assert fault(name, 3, value) == OUT_OF_RANGE


@pytest.mark.parametrize("value", [2.0, 1e-30, -0.3])
def test_the_norm_is_of_the_trained_components(value: float) -> None:
    buffer = LAYOUT.empty()
    for view in LAYOUT.views(buffer).values():
        view[...] = value
    examined = examine(buffer, LAYOUT, 2.0)
    stored = float(np.float32(value))
    assert examined.fault is None
    # Squares of 1e-30 are beyond float32: that half of the norm may be missing.
    assert examined.norm == pytest.approx(math.sqrt(SIZE * (stored**2 + value**2)), rel=1e-5 if value != 1e-30 else 0.3)


SMALL = Layout.build([("weight", "float32", (6,), False), ("count", "int64", (3,), True)])
anything = arrays(np.float32, 6, elements=st.floats(width=32) | st.floats(-3, 3, width=32))
integers = arrays(np.int64, 3, elements=st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**12))


@given(anything, integers)
def test_exactly_what_a_look_at_every_component_refuses(weight: NDArray[Any], count: NDArray[Any]) -> None:
    buffer = SMALL.empty()
    SMALL.pack({"weight": weight, "count": count}, buffer)
    within = all(abs(int(n)) <= 10**12 for n in count) and all(abs(float(w)) <= 2.0 for w in weight)
    assert (examine(buffer, SMALL, 2.0).fault is None) == within
