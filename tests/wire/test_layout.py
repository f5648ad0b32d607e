"""A model as one flat buffer: nothing lost, everything aligned, updates widened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from umbel.wire.layout import DTYPES, FLOATS, Array, Layout, LayoutError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
NAMES = st.text("abcdefgh.", min_size=1, max_size=8)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Array]:
    arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
    return draw(st.dictionaries(NAMES, arrays, min_size=1, max_size=8))


def buffers_of(arrays: dict[str, Array]) -> list[str]:
    return [name for name in arrays if len(name) % 2]


@given(models())
def test_what_is_packed_is_viewed_bit_by_bit(arrays: dict[str, Array]) -> None:
    layout = Layout.of(arrays, buffers_of(arrays))
    flat = layout.empty()
    layout.pack(arrays, flat)
    views = layout.views(flat)
    assert views.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (views[name].dtype, views[name].shape) == (array.dtype, array.shape)
        assert views[name].tobytes() == array.tobytes()


@given(models())
def test_tensors_are_aligned_and_without_gaps(arrays: dict[str, Array]) -> None:
    layout = Layout.of(arrays, buffers_of(arrays))
    place = 0
    for tensor in layout.tensors:
        assert tensor.offset == place
        assert tensor.offset % np.dtype(tensor.dtype).itemsize == 0
        place += tensor.nbytes
    assert layout.nbytes == place == len(layout.empty())
    assert layout.empty().ctypes.data % 8 == 0


@given(models())
def test_regions_cover_everything_once(arrays: dict[str, Array]) -> None:
    layout = Layout.of(arrays, buffers_of(arrays))
    flat = layout.empty()
    for region in layout.regions:
        region.of(flat).view(np.uint8)[:] += 1
    assert flat.tolist() == [1] * layout.nbytes
    assert all(r.trained == (r.dtype in FLOATS and not r.buffer) for r in layout.regions)


@given(models())
def test_an_update_has_the_same_tensors_with_wide_integers(arrays: dict[str, Array]) -> None:
    down = Layout.of(arrays, buffers_of(arrays))
    up = down.upward()
    here, there = {t.name: t for t in down.tensors}, {t.name: t for t in up.tensors}
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        wide = there[name]
        assert (wide.shape, wide.buffer) == (tensor.shape, tensor.buffer)
        assert wide.dtype == (tensor.dtype if tensor.dtype in FLOATS else "int64")
    assert up.upward() == up


@given(models())
def test_the_order_of_arrival_of_names_does_not_matter_to_regions(arrays: dict[str, Array]) -> None:
    backwards = dict(reversed(arrays.items()))
    assert Layout.of(arrays).regions == Layout.of(backwards).regions
    assert Layout.of(arrays).nbytes == Layout.of(backwards).nbytes


def test_what_stays_in_the_silo_is_in_no_layout() -> None:
    layout = Layout.of({"head.weight": np.ones(3), "Head.bias": np.ones(2), "body": np.ones(1)})
    assert {t.name for t in layout.without(["head.*"]).tensors} == {"Head.bias", "body"}
    with pytest.raises(LayoutError, match="no tensors"):
        layout.without(["*"])


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"b": np.zeros(2, np.float32)}, "'a' is missing"),
        ({"a": np.zeros(2, np.float32), "b": np.zeros(1)}, "'b' is not in the model"),
        ({"a": np.zeros(3, np.float32)}, r"'a' has shape \(3,\)"),
        ({"a": np.zeros(2, np.int64)}, "'a' is int64"),
        ({"a": np.zeros(2, np.complex64)}, "'a' is complex64"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays: dict[str, Array], fault: str) -> None:
    layout = Layout.of({"a": np.zeros(2, np.float32)})
    with pytest.raises(LayoutError, match=fault):
        layout.pack(arrays, layout.empty())


@pytest.mark.parametrize("dtype", ["float16", "complex64", "uint64", "object", "datetime64[s]"])
def test_other_types_are_no_model(dtype: str) -> None:
    with pytest.raises(LayoutError, match="use one of float32"):
        Layout.build([("a", dtype, (2,), False)])


def test_a_name_is_used_once() -> None:
    with pytest.raises(LayoutError, match="'a'"):
        Layout.build([("a", "float32", (1,), False), ("a", "float64", (1,), False)])
