"""Every update rule against its reference, in any order of arrival, and across a restart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from unit.aggregation import references
from unit.aggregation.cohort import Sent, Server, built_in

from umbel import rules
from umbel.aggregation.strategies import BUILT_IN

SIZE, MEMBERS, ROUNDS, PLANNED = 7, 5, 6, 8
Q = {"q": 2.0, "clientLearningRate": 0.1, "serverLearningRate": 0.5}
Reference = Callable[[Any, Any, Any], Any]

# name of the case -> (rule, parameters, reference)
CASES: dict[str, tuple[str, dict[str, float], Reference]] = {
    "FedAvg": ("FedAvg", {}, references.fedavg),
    "FedAvg, half": ("FedAvg", {"serverLearningRate": 0.5}, references.fedavg),
    "FedProx": ("FedProx", {"mu": 0.3}, references.fedavg),
    "FedAvgM": ("FedAvgM", {"serverLearningRate": 0.7}, references.fedavgm),
    "FedAdagrad": ("FedAdagrad", {}, references.fedadagrad),
    "FedAdagrad, first moment": ("FedAdagrad", {"beta1": 0.5}, references.fedadagrad),
    "FedYogi": ("FedYogi", {}, references.fedyogi),
    "FedAdam": ("FedAdam", {}, references.fedadam),
    "FedAdam, wide": ("FedAdam", {"tau": 0.1, "beta1": 0.5, "beta2": 0.7}, references.fedadam),
    "FedNova": ("FedNova", {}, partial(references.fednova, planned=PLANNED)),
    "FedNova, momentum": ("FedNova", {"momentum": 0.9}, partial(references.fednova, planned=PLANNED)),
    "FedNova, proximal": (
        "FedNova",
        {"mu": 0.4, "clientLearningRate": 0.5, "cap": 2.0},
        partial(references.fednova, planned=PLANNED),
    ),
    "q-FedAvg": ("q-FedAvg", Q, references.qfedavg),
    "q-FedAvg, q 0": ("q-FedAvg", {**Q, "q": 0.0}, references.qfedavg),
    "q-FedAvg, q ½": ("q-FedAvg", {**Q, "q": 0.5}, references.qfedavg),
}


def courses(seed: int = 3) -> list[list[Sent]]:
    """Losses near 1, where q-FedAvg's cap is out of play; steps from 1, where FedNova's is in it."""
    rng = np.random.default_rng(seed)
    return [
        [
            Sent(
                {"w": rng.normal(0, 0.1, SIZE)},
                examples=int(rng.integers(1, 400)),
                done=int(rng.integers(1, 2 * PLANNED)),
                planned=PLANNED,
                loss=float(rng.uniform(0.5, 1.5)),
                rescale=float(rng.choice([1.0, 2.0])),
            )
            for _ in range(MEMBERS)
        ]
        for _ in range(ROUNDS)
    ]


def serve(case: str) -> Server:
    rule, parameters, _ = CASES[case]
    start = {"w": np.linspace(-1, 1, SIZE)}
    return Server(built_in(rule, **parameters), start, max_abs=1.0, cap=4.0)


@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_what_its_reference_says(case: str) -> None:
    rule, parameters, reference = CASES[case]
    server, rounds = serve(case), courses()
    for sent in rounds:
        server.round(sent, PLANNED)
    expected = reference(np.linspace(-1, 1, SIZE), rounds, rules.complete(rule, parameters))
    np.testing.assert_allclose(server.arrays["w"], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_no_order_of_arrival_changes_a_bit_of_model_or_state(case: str) -> None:
    images = set()
    for seed in range(5):
        server, rng = serve(case), np.random.default_rng(seed)
        for sent in courses():
            server.round([sent[i] for i in rng.permutation(MEMBERS)], PLANNED)
        state = {name: array.tobytes() for name, array in server.strategy.state().items()}
        images.add((server.model.tobytes(), tuple(sorted(state.items()))))
    assert len(images) == 1


@pytest.mark.parametrize("case", CASES)
def test_a_restart_between_two_rounds_changes_nothing(case: str) -> None:
    through, rounds = serve(case), courses()
    stopped = serve(case)
    for sent in rounds[:3]:
        through.round(sent, PLANNED)
        stopped.round(sent, PLANNED)
    resumed = serve(case)
    resumed.model[:] = stopped.model
    resumed.strategy.restore({name: array.copy() for name, array in stopped.strategy.state().items()})
    for sent in rounds[3:]:
        through.round(sent, PLANNED)
        resumed.round(sent, PLANNED)
    assert resumed.model.tobytes() == through.model.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_what_was_restored_is_no_longer_shared(case: str) -> None:
    server, rounds = serve(case), courses()
    server.round(rounds[0], PLANNED)
    kept = {name: array.copy() for name, array in server.strategy.state().items()}
    image = {name: array.tobytes() for name, array in kept.items()}
    other = serve(case)
    other.strategy.restore(kept)
    other.round(rounds[1], PLANNED)
    assert {name: array.tobytes() for name, array in kept.items()} == image


@pytest.mark.parametrize("case", CASES)
def test_nothing_to_restore_is_the_beginning(case: str) -> None:
    used, fresh = serve(case), serve(case)
    used.round(courses()[0], PLANNED)
    used.strategy.restore({})
    used.model[:] = fresh.model
    used.round(courses()[1], PLANNED)
    fresh.round(courses()[1], PLANNED)
    assert used.model.tobytes() == fresh.model.tobytes()


def test_every_rule_of_the_manifest_is_here_and_has_a_reference() -> None:
    assert set(BUILT_IN) == set(rules.BUILT_IN) == {rule for rule, _, _ in CASES.values()}
