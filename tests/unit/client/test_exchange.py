"""What may leave a silo, and what comes of user code's arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbel import Update
from umbel.client.exchange import Exchange, ReturnError
from umbel.wire.frames import FRAME_BYTES
from umbel.wire.layout import Layout, LayoutError

MANY = FRAME_BYTES // 4 + 5  # float32 values that need a second frame


def exchange_of(model, buffers=(), local=()):
    down = Layout.of(model, buffers)
    exchange = Exchange(down, down.upward(), local)
    down.pack(model, exchange.model)
    return exchange


def sent(exchange, gradients=False):
    """The update as the server reads it."""
    flat = exchange.up.empty()
    flat[:] = np.frombuffer(b"".join(bytes(f) for f in exchange.frames(gradients=gradients)), np.uint8)
    return exchange.up.views(flat)


tensors = st.lists(
    st.tuples(
        st.sampled_from(["float32", "float64", "int8", "uint8", "int32", "int64", "bool"]),
        st.lists(st.integers(0, 5), max_size=3),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100)
@given(tensors, st.integers(0, 2**32 - 1))
def test_the_update_is_the_difference_tensor_by_tensor(specs, seed):
    draw = np.random.default_rng(seed)
    model = {f"t{i}": np.asarray(draw.integers(0, 2, shape)).astype(d) for i, (d, shape, _) in enumerate(specs)}
    exchange = exchange_of(model, [f"t{i}" for i, (*_, buffer) in enumerate(specs) if buffer])
    exchange.parameters({})
    local = {n: np.asarray(draw.integers(0, 2, a.shape)).astype(a.dtype) for n, a in model.items()}
    exchange.take(Update(local), {})
    for name, difference in sent(exchange).items():
        wide = local[name].astype(difference.dtype)
        np.testing.assert_array_equal(difference, wide - model[name].astype(difference.dtype))


def test_frames_are_full_until_the_last_and_may_be_asked_for_again():
    exchange = exchange_of({"w": np.zeros(MANY, np.float32), "n": np.zeros(3, np.int8)})
    parameters = exchange.parameters({})
    parameters["w"][:] = np.arange(MANY)
    parameters["n"][:] = -1
    exchange.take(Update(parameters), {})
    lengths = [len(f) for f in exchange.frames(gradients=False)]
    assert lengths == [FRAME_BYTES, MANY * 4 + 3 * 8 - FRAME_BYTES]
    for _ in range(2):
        np.testing.assert_array_equal(sent(exchange)["w"], np.arange(MANY, dtype=np.float32))
        np.testing.assert_array_equal(sent(exchange)["n"], [-1, -1, -1])


def test_a_negative_difference_of_unsigned_integers_is_negative():
    exchange = exchange_of({"n": np.array([200, 3], np.uint8)})
    exchange.parameters({})
    exchange.take(Update({"n": np.array([1, 4], np.uint8)}), {})
    np.testing.assert_array_equal(sent(exchange)["n"], [-199, 1])


def test_float64_for_a_float32_parameter_is_cast():
    exchange = exchange_of({"w": np.zeros(2, np.float32)})
    exchange.parameters({})
    exchange.take(Update({"w": np.array([0.1, 0.2])}), {})
    assert sent(exchange)["w"].tolist() == np.array([0.1, 0.2], np.float32).tolist()


def test_gradients_leave_buffers_alone_unless_they_are_given():
    model = {"w": np.ones(2, np.float32), "mean": np.ones(1, np.float32), "n": np.ones((), np.int64)}
    exchange = exchange_of(model, buffers=["mean"])
    exchange.parameters({})
    exchange.take(Update.from_gradients({"w": np.array([3.0, 4.0])}), {})
    assert {n: a.tolist() for n, a in sent(exchange, gradients=True).items()} == {"w": [-3, -4], "mean": [0], "n": 0}
    exchange.take(Update.from_gradients({"w": np.array([3.0, 4.0]), "mean": np.array([5.0])}), {})
    assert sent(exchange, gradients=True)["mean"].tolist() == [4]


def test_gradients_need_every_trained_tensor():
    exchange = exchange_of({"w": np.ones(2, np.float32), "v": np.ones(2, np.float32)})
    exchange.parameters({})
    with pytest.raises(ReturnError, match="tensor 'v' is missing"):
        exchange.take(Update.from_gradients({"w": np.zeros(2)}), {})


def test_two_tensors_of_the_working_copy_may_be_swapped():
    exchange = exchange_of({"a": np.zeros(2, np.float32), "b": np.ones(2, np.float32)})
    parameters = exchange.parameters({})
    exchange.take(Update({"a": parameters["b"], "b": parameters["a"]}), {})
    assert {n: a.tolist() for n, a in sent(exchange).items()} == {"a": [1, 1], "b": [-1, -1]}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 70_000, 99_999])
def test_a_value_that_is_not_finite_is_found_by_its_tensor(value, where):
    exchange = exchange_of({"a": np.zeros(3, np.float32), "b": np.zeros(100_000, np.float32)})
    parameters = exchange.parameters({})
    parameters["b"][where] = value
    with pytest.raises(ReturnError, match="tensor 'b' has a value that is not finite"):
        exchange.take(Update(parameters), {})


def test_large_but_finite_values_are_no_fault_here():
    exchange = exchange_of({"a": np.zeros(3, np.float32)})
    parameters = exchange.parameters({})
    parameters["a"][:] = 3e38
    exchange.take(Update(parameters), {})


def test_memory_is_reused_from_round_to_round():
    exchange = exchange_of({"w": np.zeros(2, np.float32)})
    addresses = {exchange.parameters({})["w"].ctypes.data for _ in range(3)}
    assert len(addresses) == 1
    assert exchange.model.ctypes.data not in addresses


def test_a_layout_that_asks_for_what_the_model_has_not_is_refused():
    down = Layout.of({"w": np.zeros(2, np.float32)})
    with pytest.raises(LayoutError, match="asks for 'c'"):
        Exchange(down, Layout.of({"w": np.zeros(2, np.float32), "c": np.zeros(2, np.float32)}), ())


def test_private_tensors_are_told_apart_by_pattern_and_never_sent():
    exchange = exchange_of({"w": np.zeros(2, np.float32)}, local=["head.*"])
    private = {"head.w": np.ones(2, np.float32), "head.b": np.ones(1, np.float32)}
    parameters = exchange.parameters(private)
    parameters["head.w"] += 1
    assert private["head.w"].tolist() == [1, 1]  # handed out as a copy
    kept = exchange.take(Update({"w": parameters["w"], "head.w": parameters["head.w"].astype(float)}), private)
    assert {n: (a.tolist(), a.dtype.name) for n, a in kept.items()} == {
        "head.w": ([2, 2], "float32"),
        "head.b": ([1], "float32"),
    }
    assert set(sent(exchange)) == {"w"}


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ({"head.v": np.zeros(1)}, "private tensor 'head.v' is not one that `initial` made"),
        ({"head.w": np.zeros(3)}, "private tensor 'head.w' has shape"),
        ({"head.w": np.array([np.inf, 0])}, "private tensor 'head.w' has a value that is not finite"),
    ],
)
def test_a_wrong_private_tensor_is_a_fault(returned, fault):
    exchange = exchange_of({"w": np.zeros(2, np.float32)}, local=["head.*"])
    with pytest.raises(ReturnError, match=fault):
        exchange.take(Update({"w": np.zeros(2), **returned}), {"head.w": np.zeros(2, np.float32)})
