"""What the exactness of the sum costs: errors stay small where members declare much and do not return."""

from __future__ import annotations

import numpy as np
import pytest
from unit.aggregation.cohort import Arrays, Sent, Server

from umbel.aggregation.strategies import create

ABSENT = Sent({}, examples=10**9)  # declares the most that is allowed, is invited, never returns


def after_a_round_without(absent: Sent, start: Arrays, sent: list[Sent], buffers: list[str]) -> Arrays:
    server = Server(create("FedAvg", {}), start, buffers, max_abs=1024.0, cap=4.0)
    server.open([*sent, absent])
    for one in sent:
        server.fold(one)
    assert server.finish().finite
    return server.arrays


def test_a_huge_declaration_that_does_not_return_costs_no_counter_and_no_statistic() -> None:
    rng = np.random.default_rng(5)
    changes = [(rng.normal(0, 3, 4), rng.integers(1, 50, 3)) for _ in range(5)]
    sent = [Sent({"mean": mean, "count": count}, examples=10 + k) for k, (mean, count) in enumerate(changes)]
    start: Arrays = {"mean": np.zeros(4), "count": np.array([0, 7, 10**6])}
    model = after_a_round_without(ABSENT, start, sent, ["mean", "count"])
    weights = [one.examples for one in sent]
    means, counts = (np.average([change[i] for change in changes], axis=0, weights=weights) for i in (0, 1))
    np.testing.assert_allclose(model["mean"], means, rtol=1e-9)
    assert model["count"].tolist() == np.rint(start["count"] + counts).astype(int).tolist()


def test_a_huge_declaration_that_does_not_return_leaves_trained_components_near_float32() -> None:
    rng = np.random.default_rng(6)
    changes = rng.normal(0, 0.1, (10, 50))
    sent = [Sent({"w": change}, examples=1000) for change in changes]
    model = after_a_round_without(ABSENT, {"w": np.zeros(50)}, sent, [])
    np.testing.assert_allclose(model["w"], changes.mean(axis=0), rtol=0, atol=1e-6)


def test_many_members_add_up_no_error_to_speak_of() -> None:
    rng = np.random.default_rng(7)
    changes = rng.normal(0, 0.1, (1000, 4))
    examples = rng.integers(1, 10**5, 1000)
    sent = [Sent({"w": change}, examples=int(n)) for change, n in zip(changes, examples, strict=True)]
    server = Server(create("FedAvg", {}), {"w": np.zeros(4)}, max_abs=1024.0, cap=4.0)
    server.round(sent)
    np.testing.assert_allclose(server.arrays["w"], np.average(changes, axis=0, weights=examples), rtol=0, atol=1e-10)


@pytest.mark.parametrize("value", [2**60 + 1, 2**63 - 1, -(2**63), -(2**62) - 3, 2**53 + 1])
@pytest.mark.parametrize("change", [0, 1, -1, 10**12, -(10**12)])
def test_integers_too_long_for_float64_move_by_whole_steps(value: int, change: int) -> None:
    server = Server(create("FedAvg", {}), {"n": np.array([value])})
    server.round([Sent({"n": np.array([change])}, examples=n) for n in (3, 5)])
    assert server.arrays["n"].tolist() == [min(max(value + change, -(2**63)), 2**63 - 1)]


@pytest.mark.parametrize("q", [5.0, 10.0])
def test_a_large_q_still_has_digits_left(q: float) -> None:
    """Equal losses: every F^q is the same, and the step is the mean over 1 + q‖g‖²/(L·F)."""
    changes, rate = [np.array([0.02, -0.01]), np.array([0.01, 0.03])], 0.1
    server = Server(
        create("q-FedAvg", {"q": q, "clientLearningRate": rate}), {"w": np.zeros(2)}, max_abs=1024.0, cap=4.0
    )
    server.round([Sent({"w": change}, loss=1.0) for change in changes])
    curvature = np.mean([1 + q * float(change @ change) / rate for change in changes])
    np.testing.assert_allclose(server.arrays["w"], np.mean(changes, axis=0) / curvature, rtol=0, atol=2e-7)
