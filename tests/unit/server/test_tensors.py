"""Our safetensors files are everybody's, and carry the layout."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from umbel.server import tensors
from umbel.wire.layout import DTYPES, Layout

Spec = tuple[str, str, tuple[int, ...], bool]

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
MODELS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.tuples(st.sampled_from(DTYPES), SHAPES, st.booleans()),
    min_size=1,
    max_size=8,
).filter(lambda found: "__metadata__" not in found)


@settings(max_examples=150)
@given(found=MODELS, seed=st.integers(0, 2**32))
def test_any_model_comes_back_and_is_what_the_library_reads(
    tmp_path: Path, found: dict[str, tuple[str, tuple[int, ...], bool]], seed: int
) -> None:
    layout = Layout.build((name, *rest) for name, rest in found.items())
    model = layout.empty()
    model[:] = np.random.default_rng(seed).integers(0, 2, layout.nbytes)
    path = tmp_path / "model.safetensors"
    digest = tensors.write_model(path, layout, model)

    again, bytes_again = tensors.read_model(path)
    assert again == layout
    assert np.array_equal(bytes_again, model)
    assert digest == tensors.digest_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()

    expected = layout.views(model)
    arrays = load_file(path)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        assert array.tobytes() == expected[name].tobytes()


def test_buffers_are_listed_in_the_metadata(tmp_path: Path) -> None:
    layout = Layout.build([("w", "float32", (2,), False), ("mean", "float32", (2,), True)])
    tensors.write_model(tmp_path / "m", layout, layout.empty())
    with safe_open(str(tmp_path / "m"), framework="numpy") as file:
        assert file.metadata() == {"buffers": '["mean"]'}


def test_data_begins_aligned(tmp_path: Path) -> None:
    for length in range(1, 9):
        layout = Layout.build([("w" * length, "float64", (1,), False)])
        tensors.write_model(tmp_path / "m", layout, layout.empty())
        assert (tmp_path / "m").stat().st_size % 8 == 0


def test_a_model_larger_than_a_block_is_written_whole(tmp_path: Path) -> None:
    layout = Layout.build([("w", "uint8", (tensors.BLOCK_BYTES + 3,), False)])
    model = layout.empty()
    model[:] = np.arange(layout.nbytes) % 251
    tensors.write_model(tmp_path / "m", layout, model)
    assert np.array_equal(load_file(tmp_path / "m")["w"], model)


def test_arrays_of_a_strategy_come_back(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "scalar": np.float64(3.5),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "sliced": np.arange(10)[::3],
        "big endian": np.arange(3, dtype=">i4"),
        "half": np.ones(3, np.float16),
        "none": np.zeros((0, 2), np.float64),
        "flags": np.array([True, False]),
    }
    digest = tensors.write_arrays(tmp_path / "s", {name: np.asarray(a) for name, a in arrays.items()})
    loaded = load_file(tmp_path / "s")
    assert digest == tensors.digest_of(tmp_path / "s")
    assert loaded.keys() == arrays.keys()
    for name, array in loaded.items():
        assert array.shape == np.shape(arrays[name])
        assert np.array_equal(array, arrays[name])


def test_a_dtype_without_a_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'z' is complex128; use one of float16, float32"):
        tensors.write_arrays(tmp_path / "s", {"z": np.zeros(2, np.complex128)})
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    layout = Layout.build([("w", "float32", (100,), False)])
    tensors.write_model(tmp_path / "m", layout, layout.empty())
    os.truncate(tmp_path / "m", 300)
    with pytest.raises(ValueError, match="shorter than its header says"):
        tensors.read_model(tmp_path / "m")
