"""What theory says of the rules where it can be computed: quadratics, pooled gradients, a silo that has everything."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from unit.aggregation.cohort import Sent, Server, built_in

from umbel.aggregation.strategies import create

Vector = NDArray[np.float64]

RATE = 0.1
STEPS = np.array([2, 3, 5, 8])
EXAMPLES = np.array([10, 40, 25, 5])
CENTRES = np.array([[0.4, -0.4], [-0.3, 0.1], [0.2, 0.35], [-0.4, -0.2]])  # |D| ≤ 0.8, within maxAbs 1


def descend(x: Vector, centre: Vector, steps: int) -> Vector:
    """Gradient steps on ½‖x − centre‖²."""
    for _ in range(steps):
        x = x - RATE * (x - centre)
    return x


def fixed_point(weights: Vector) -> Vector:
    pull = weights * (1 - (1 - RATE) ** STEPS)
    return np.asarray(pull @ CENTRES / pull.sum())


@pytest.mark.parametrize(("name", "weights"), [("FedAvg", EXAMPLES / 1.0), ("FedNova", EXAMPLES / STEPS)])
def test_quadratics_end_at_the_fixed_point(name: str, weights: Vector) -> None:
    server = Server(built_in(name), {"w": np.zeros(2)})
    for _ in range(200):
        x = server.arrays["w"].copy()
        server.round(
            [
                Sent({"w": descend(x, centre, int(steps)) - x}, examples=int(n), done=int(steps), planned=int(steps))
                for centre, steps, n in zip(CENTRES, STEPS, EXAMPLES, strict=True)
            ],
            planned=float(STEPS.mean()),
        )
    np.testing.assert_allclose(server.arrays["w"], fixed_point(weights), rtol=0, atol=1e-12)


def test_the_two_fixed_points_are_not_the_same() -> None:
    assert np.abs(fixed_point(EXAMPLES / 1.0) - fixed_point(EXAMPLES / STEPS)).max() > 0.01


def pooled(seed: int = 1) -> tuple[Vector, Vector]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(90, 4))
    return x, x @ np.array([0.5, -0.3, 0.8, 0.1]) + rng.normal(0, 0.1, 90)


def gradient(w: Vector, x: Vector, y: Vector) -> Vector:
    """Of the mean of ½(xw − y)²."""
    return np.asarray(x.T @ (x @ w - y) / len(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_updates_are_central_gradient_descent(dtype: type) -> None:
    x, y = pooled()
    parts = np.split(np.arange(90), [5, 30, 31])
    server = Server(built_in("FedAvg", serverLearningRate=0.2), {"w": np.zeros(4, dtype)}, max_abs=16.0)
    central = np.zeros(4)
    for _ in range(60):
        w = server.arrays["w"].astype(np.float64)
        server.round([Sent({"w": -gradient(w, x[i], y[i]).astype(dtype)}, examples=len(i)) for i in parts])
        central = central - 0.2 * gradient(central, x, y)
    np.testing.assert_allclose(server.arrays["w"], central, rtol=0, atol=1e-6)


def test_one_silo_with_everything_is_plain_training() -> None:
    x, y = pooled()
    server, plain = Server(built_in("FedAvg"), {"w": np.zeros(4)}, max_abs=16.0), np.zeros(4)
    for _ in range(20):
        start = server.arrays["w"].copy()
        w = start
        for _ in range(5):
            w = w - 0.1 * gradient(w, x, y)
            plain = plain - 0.1 * gradient(plain, x, y)
        server.round([Sent({"w": w - start}, examples=90, done=5, planned=5)])
    np.testing.assert_allclose(server.arrays["w"], plain, rtol=0, atol=1e-12)


def test_fednova_is_fedavg_where_all_do_the_same_number_of_steps() -> None:
    models = []
    for name in ("FedNova", "FedAvg"):
        server = Server(built_in(name), {"w": np.zeros(2)})
        server.round(
            [Sent({"w": c}, examples=int(n), done=4, planned=4) for c, n in zip(CENTRES, EXAMPLES, strict=True)]
        )
        models.append(server.arrays["w"].copy())
    np.testing.assert_allclose(models[0], models[1], rtol=0, atol=1e-12)


def test_fednovas_cap_holds_back_who_did_little_also_before_a_plan_is_known() -> None:
    sent = [Sent({"w": np.array([0.5])}, done=1, planned=100), Sent({"w": np.array([0.0])}, done=100, planned=100)]
    server = Server(built_in("FedNova", cap=4.0), {"w": np.zeros(1)})
    server.round(sent, planned=0.0)
    effective = (1 + 100) / 2
    assert server.arrays["w"][0] == pytest.approx(effective * 0.5 * 0.5 * 4 / 100, abs=1e-12)


def test_qfedavg_caps_the_ratio_of_a_loss_to_the_reference() -> None:
    """The reference is 1 in the first round: losses of 16 and of 10⁶ pull alike."""
    moved = []
    for loss in (16.0, 1e6):
        server = Server(built_in("q-FedAvg", q=1.0, clientLearningRate=0.1), {"w": np.zeros(1)})
        server.round([Sent({"w": np.array([0.5])}, loss=loss), Sent({"w": np.array([-0.5])}, loss=1.0)])
        moved.append(float(server.arrays["w"][0]))
    assert moved[0] == moved[1] > 0


def test_qfedavg_of_losses_that_are_all_zero_stands_still_or_moves_but_stays_finite() -> None:
    server = Server(built_in("q-FedAvg", q=1.0, clientLearningRate=0.1), {"w": np.zeros(1)})
    for _ in range(60):
        assert server.round([Sent({"w": np.array([0.1])}, loss=0.0), Sent({"w": np.array([0.1])}, loss=0.0)]).finite


def test_work_half_done_and_rescaled_counts_as_whole_work_of_the_same_direction() -> None:
    whole, half = Sent({"w": np.array([0.4])}, examples=3), Sent({"w": np.array([0.2])}, examples=3, rescale=2.0)
    other = Sent({"w": np.array([-0.1])}, examples=7)
    models = []
    for sent in ([whole, other], [half, other]):
        server = Server(built_in("FedAvg"), {"w": np.zeros(1)}, cap=4.0)
        server.round(sent)
        models.append(float(server.arrays["w"][0]))
    assert models[0] == pytest.approx(models[1], abs=1e-12)


def test_uniform_weighting_does_not_ask_for_examples() -> None:
    server = Server(create("FedAvg", {}, "Uniform"), {"w": np.zeros(1)})
    server.round([Sent({"w": np.array([0.3])}, examples=1), Sent({"w": np.array([0.5])}, examples=999)])
    assert server.arrays["w"][0] == pytest.approx(0.4, abs=1e-12)
