"""The sum: exact, the same in any order, in memory that is reused and leaves nothing of an update behind."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from umbel.aggregation.accumulator import BLOCK, Accumulator, magic
from umbel.wire.layout import Layout

SIZE = 5
LAYOUT = Layout.build(
    [
        ("weight", "float32", (SIZE,), False),
        ("scale", "float64", (SIZE,), False),
        ("mean", "float32", (SIZE,), True),
        ("count", "int64", (SIZE,), True),
    ]
)
MAX_ABS = 1024.0

Bytes = NDArray[np.uint8]


def update(**values: Any) -> Bytes:
    buffer = LAYOUT.empty()
    views = LAYOUT.views(buffer)
    for name, value in values.items():
        views[name][...] = value
    return buffer


@st.composite
def updates(draw: st.DrawFn) -> Bytes:
    wide = st.floats(-MAX_ABS, MAX_ABS) | st.sampled_from([MAX_ABS, -MAX_ABS, 2.0**-43, -(3 * 2.0**-44)])
    narrow = st.floats(-MAX_ABS, MAX_ABS, width=32)
    return update(
        weight=draw(arrays(np.float32, SIZE, elements=narrow)),
        scale=draw(arrays(np.float64, SIZE, elements=wide)),
        mean=draw(arrays(np.float32, SIZE, elements=st.floats(-1e6, 1e6, width=32))),
        count=draw(arrays(np.int64, SIZE, elements=st.integers(-(10**12), 10**12))),
    )


def weights() -> st.SearchStrategy[float]:
    return st.integers(1, 10**9).map(float) | st.floats(1e-3, 1e3)


def summed(
    folded: list[tuple[Bytes, float, float]], bound: float, *, into: Accumulator | None = None
) -> dict[str, NDArray[np.float64]]:
    accumulator = into or Accumulator(LAYOUT)
    accumulator.reset(weight_bound=bound, trained_bound=MAX_ABS)
    for buffer, weight, scale in folded:
        accumulator.fold(buffer, weight, scale)
    names = [t.name for t in accumulator.layout.tensors]
    return {name: accumulator.mean(index, 0, SIZE).copy() for index, name in enumerate(names)}


def image(means: dict[str, NDArray[np.float64]]) -> bytes:
    return b"".join(array.tobytes() for array in means.values())


folds = st.lists(st.tuples(updates(), weights(), st.floats(-1, 1)), min_size=1, max_size=8)


@given(folds, st.randoms(use_true_random=False), st.floats(1, 100))
def test_no_order_changes_a_bit(folded: list[tuple[Bytes, float, float]], random: Any, headroom: float) -> None:
    bound = sum(weight for _, weight, _ in folded) * headroom
    first = image(summed(folded, bound))
    random.shuffle(folded)
    assert image(summed(folded, bound)) == first


def test_no_order_changes_a_bit_where_one_member_has_nearly_all_the_weight() -> None:
    rng = np.random.default_rng(4)
    scales = np.array([-MAX_ABS] + [float(v) for v in rng.uniform(-MAX_ABS, MAX_ABS, 30)])
    shares = [1e6] + [float(w) for w in rng.uniform(0.1, 2.0, 30)]
    folded = [(update(scale=s, weight=s), w, 1.0) for s, w in zip(scales, shares, strict=True)]
    images = set()
    for _ in range(20):
        rng.shuffle(folded)
        images.add(image(summed(folded, sum(shares))))
    assert len(images) == 1


@given(folds)
def test_the_mean_is_off_by_no_more_than_the_grid(folded: list[tuple[Bytes, float, float]]) -> None:
    bound = sum(weight for _, weight, _ in folded)
    means = summed(folded, bound)
    for name, limit in {"weight": MAX_ABS, "scale": MAX_ABS, "mean": 1e6, "count": 1e12}.items():
        trained = name in ("weight", "scale")
        total = [Fraction(0)] * SIZE
        for buffer, weight, scale in folded:
            for i, value in enumerate(LAYOUT.views(buffer)[name].tolist()):
                total[i] += Fraction(value) * Fraction(weight) * Fraction(scale if trained else 1.0)
        exact = [float(t / sum((Fraction(w) for _, w, _ in folded), Fraction())) for t in total]
        np.testing.assert_allclose(means[name], exact, rtol=0, atol=(len(folded) + 2) * limit * 2.0**-50)


def test_a_float32_component_is_multiplied_in_float64() -> None:
    value = np.float32(0.1)
    means = summed([(update(weight=value), 1.0, 1.0), (update(weight=0.0), 2.0, 1.0)], 3.0)
    np.testing.assert_allclose(means["weight"], float(value) / 3, rtol=0, atol=1e-12)


@given(updates(), updates(), st.integers(1, 20))
def test_a_weight_of_w_is_w_copies(one: Bytes, other: Bytes, copies: int) -> None:
    once = summed([(one, float(copies), 1.0), (other, 3.0, 1.0)], copies + 3.0)
    often = summed([(one, 1.0, 1.0)] * copies + [(other, 3.0, 1.0)], copies + 3.0)
    for name, limit in {"weight": MAX_ABS, "scale": MAX_ABS, "mean": 1e6, "count": 1e12}.items():
        np.testing.assert_allclose(once[name], often[name], rtol=0, atol=1e-9 * limit)


@given(st.floats(1e-9, 1e18), st.floats(-1, 1))
def test_the_offset_rounds_to_a_whole_number_of_steps_whatever_the_sign(bound: float, part: float) -> None:
    value, offset = part * bound, magic(bound)
    pattern = np.array([value + offset]).view(np.int64)[0] - np.array([offset]).view(np.int64)[0]
    step = offset / 1.5 * 2.0**-52
    assert int(pattern) == round(Fraction(value) / Fraction(step))
    assert step <= 4 * bound * 2.0**-52


def test_scale_is_for_trained_components_only() -> None:
    means = summed([(update(weight=8.0, scale=8.0, mean=8.0, count=8), 1.0, 0.5)], 1.0)
    assert {name: float(array[0]) for name, array in means.items()} == {
        "weight": 4.0,
        "scale": 4.0,
        "mean": 8.0,
        "count": pytest.approx(8.0, abs=1e-3),
    }


@given(folds, folds)
def test_memory_that_served_another_round_gives_the_same(
    before: list[tuple[Bytes, float, float]], folded: list[tuple[Bytes, float, float]]
) -> None:
    bound = sum(weight for _, weight, _ in folded)
    used = Accumulator(LAYOUT)
    summed(before, sum(weight for _, weight, _ in before), into=used)
    assert image(summed(folded, bound, into=used)) == image(summed(folded, bound))


def test_a_folded_update_is_overwritten_if_wanted_and_its_products_too() -> None:
    layout = Layout.build([("weight", "float32", (BLOCK + 3,), False)])
    accumulator = Accumulator(layout)
    accumulator.reset(weight_bound=2.0, trained_bound=1.0)
    kept, wiped = layout.empty(), layout.empty()
    for buffer in (kept, wiped):
        layout.views(buffer)["weight"][...] = 0.5
    accumulator.fold(kept, 1.0)
    accumulator.fold(wiped, 1.0, wipe=True)
    assert not wiped.any()
    assert (layout.views(kept)["weight"] == 0.5).all()
    assert not accumulator._block.any()


def test_cleared_sums_hold_nothing() -> None:
    accumulator = Accumulator(LAYOUT)
    summed([(update(weight=1.0, scale=1.0, mean=1.0, count=1), 1.0, 1.0)], 1.0, into=accumulator)
    accumulator.clear()
    assert not any(total.any() for total in accumulator._sums)
    assert (accumulator.members, accumulator.weight) == (0, 0.0)
