"""A round from opening to model: refusals change nothing, tensors of every kind, models of many tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.aggregation.cohort import Arrays, Sent, Server, built_in
from unit.aggregation.own_rule import Diverging, Heavy, Scaled

from umbel.aggregation.accumulator import BLOCK
from umbel.aggregation.strategies import create
from umbel.aggregation.strategy import StrategyError


def summed(server: Server) -> bytes:
    held = server.aggregation._accumulator
    return b"".join(total.tobytes() for total in held._sums) + repr((held.weight, held.members)).encode()


REFUSED = {
    "by the rule": (Scaled({"factor": 1.0, "bound": 1.0}), Sent({"w": np.ones(3)}, loss=11.0)),
    "a scale beyond its bound": (Scaled({"factor": 2.0, "bound": 1.0}), Sent({"w": np.ones(3)})),
    "a scale that is no number": (Scaled({"factor": np.nan, "bound": 1.0}), Sent({"w": np.ones(3)})),
    "a weight beyond its bound": (Heavy({"factor": 1.0, "bound": 1.0}), Sent({"w": np.ones(3)})),
    "no steps": (built_in("FedNova"), Sent({"w": np.ones(3)}, done=0)),
    "a negative loss": (built_in("q-FedAvg", clientLearningRate=0.1), Sent({"w": np.ones(3)}, loss=-1.0)),
    "a loss that is no number": (built_in("q-FedAvg", clientLearningRate=0.1), Sent({"w": np.ones(3)}, loss=np.nan)),
    "rescaled beyond the cap": (built_in("FedAvg"), Sent({"w": np.ones(3)}, rescale=5.0)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_update_changes_no_byte_of_the_sums_and_is_overwritten(case: str) -> None:
    strategy, bad = REFUSED[case]
    good = Sent({"w": np.full(3, 0.5)})
    server = Server(strategy, {"w": np.zeros(3)}, cap=4.0)
    server.open([good, bad])
    if type(strategy) is not Heavy and getattr(strategy, "parameters", {}).get("factor", 1.0) == 1.0:
        server.fold(good)
    before, update = summed(server), server.bytes_of(bad)
    with pytest.raises(StrategyError):
        server.aggregation.fold(update, server.facts(bad, 1.0), bad.rescale)
    assert summed(server) == before
    assert not update.any()


@pytest.mark.parametrize("case", ["by the rule", "no steps", "a negative loss", "a loss that is no number"])
def test_what_a_rule_refuses_can_be_asked_before(case: str) -> None:
    strategy, bad = REFUSED[case]
    server = Server(strategy, {"w": np.zeros(3)})
    server.open([bad])
    assert server.aggregation.refusal(server.facts(bad, 1.0), 1.0)
    assert server.aggregation.refusal(server.facts(Sent(bad.arrays), 1.0), 1.0) is None


def test_a_round_with_a_refusal_is_the_round_without() -> None:
    good, bad = Sent({"w": np.full(3, 0.5)}, loss=2.0), Sent({"w": np.ones(3)}, loss=11.0)
    models = []
    for folded in ([good], [good, bad]):
        server = Server(create("unit.aggregation.own_rule:Scaled", {"factor": 0.5}), {"w": np.zeros(3)})
        server.open([good, bad])
        for sent in folded:
            if server.aggregation.refusal(server.facts(sent, 1.0), sent.rescale) is None:
                server.fold(sent)
        assert server.finish().members == 1
        models.append(server.model.tobytes())
    assert models[0] == models[1]


def test_a_round_of_nobody_leaves_the_model() -> None:
    server = Server(built_in("FedAvg"), {"w": np.array([1.0, 2.0])})
    server.open([Sent({"w": np.ones(2)})])
    outcome = server.finish()
    assert (outcome.finite, outcome.members, outcome.examples, outcome.update_norm) == (True, 0, 0, 0.0)
    assert server.arrays["w"].tolist() == [1.0, 2.0]


def test_the_outcome_tells_of_what_was_folded() -> None:
    server = Server(built_in("FedAvg"), {"w": np.zeros(2)})
    outcome = server.round([Sent({"w": np.array([0.6, 0.8])}, examples=n) for n in (3, 4, 5)])
    assert (outcome.finite, outcome.members, outcome.examples) == (True, 3, 12)
    assert outcome.update_norm == pytest.approx(1.0, abs=1e-12)


def test_a_discarded_attempt_leaves_nothing_to_the_next() -> None:
    used, fresh = (Server(built_in("FedAvg"), {"w": np.zeros(2)}) for _ in range(2))
    lost, kept = Sent({"w": np.array([0.9, 0.9])}, examples=50), Sent({"w": np.array([0.1, -0.2])}, examples=7)
    used.open([lost])
    used.fold(lost)
    used.aggregation.discard()
    assert not any(total.any() for total in used.aggregation._accumulator._sums)
    assert used.round([kept]) == fresh.round([kept])
    assert used.model.tobytes() == fresh.model.tobytes()


def test_scalars_of_an_earlier_attempt_are_gone() -> None:
    strategy = built_in("q-FedAvg", clientLearningRate=0.1)
    used, fresh = (
        Server(strategy, {"w": np.zeros(1)}),
        Server(built_in("q-FedAvg", clientLearningRate=0.1), {"w": np.zeros(1)}),
    )
    used.open([Sent({"w": np.ones(1)})])
    used.fold(Sent({"w": np.ones(1)}, loss=9.0))
    used.aggregation.discard()
    assert not used.aggregation._sums
    for server in (used, fresh):
        server.round([Sent({"w": np.ones(1)}, loss=2.0)])
    assert used.model.tobytes() == fresh.model.tobytes()


def test_a_model_that_is_not_finite_is_noticed() -> None:
    server = Server(Diverging({"factor": 1.0, "bound": 1.0}), {"w": np.zeros(2)})
    assert not server.round([Sent({"w": np.ones(2)})]).finite


def test_a_float32_that_overflows_is_noticed() -> None:
    server = Server(built_in("FedAvg", serverLearningRate=1000.0), {"w": np.full(2, 3.4e38, np.float32)}, max_abs=1e36)
    assert not server.round([Sent({"w": np.full(2, 1e36, np.float32)})]).finite


INTEGERS: dict[str, list[int]] = {
    "int8": [-128, 127, 0, 5],
    "int16": [-(2**15), 2**15 - 1, 0, 5],
    "int32": [-(2**31), 2**31 - 1, 0, 5],
    "uint8": [0, 255, 7, 5],
    "uint16": [0, 2**16 - 1, 7, 5],
    "uint32": [0, 2**32 - 1, 7, 5],
    "int64": [-(10**12), 10**12, 0, 5],
}


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_averaged_rounded_and_kept_within_their_type(dtype: str) -> None:
    start = np.array(INTEGERS[dtype], dtype=dtype)
    limits = np.iinfo(dtype)
    changes = [np.array(change) for change in ([-9, 9, 3, -2], [-9, 9, 4, 1], [0, 0, 4, 0])]
    weights = [1, 2, 4]
    server = Server(built_in("FedAvg", serverLearningRate=0.5), {"steps": start})
    server.round([Sent({"steps": change}, examples=n) for change, n in zip(changes, weights, strict=True)])
    exact = start.astype(np.float64) + np.average(changes, axis=0, weights=weights)
    expected = [min(max(round(value), int(limits.min)), int(limits.max)) for value in exact.tolist()]
    assert server.arrays["steps"].tolist() == expected
    assert server.arrays["steps"].dtype == dtype


@pytest.mark.parametrize("dtype", INTEGERS)
def test_no_change_keeps_every_integer_at_the_ends_of_its_type(dtype: str) -> None:
    start = np.array(INTEGERS[dtype], dtype=dtype)
    server = Server(built_in("FedAvg"), {"steps": start})
    server.round([Sent({"steps": np.zeros(4, np.int64)}, examples=n) for n in (3, 4)])
    assert server.arrays["steps"].tolist() == start.tolist()


def test_booleans_go_with_the_majority() -> None:
    server = Server(built_in("FedAvg"), {"mask": np.array([True, True, False, False])})
    server.round([Sent({"mask": np.array(change)}) for change in ([-1, -1, 1, 1], [-1, 0, 1, 0], [0, 0, 0, 0])])
    assert server.arrays["mask"].tolist() == [False, True, True, False]


def test_buffers_are_averaged_whatever_the_rule_and_the_rescale() -> None:
    start: Arrays = {"w": np.zeros(2), "mean": np.full(2, 10.0), "count": np.array(4)}
    server = Server(built_in("FedAvgM", serverLearningRate=0.1), start, ["mean", "count"], cap=4.0)
    sent = [
        Sent({"w": np.ones(2), "mean": np.full(2, 1.0), "count": np.array(2)}, examples=1, rescale=4.0),
        Sent({"w": np.ones(2), "mean": np.full(2, 5.0), "count": np.array(4)}, examples=3, rescale=1.0),
    ]
    server.round(sent)
    np.testing.assert_allclose(server.arrays["mean"], 14.0, rtol=0, atol=1e-8)
    assert int(server.arrays["count"]) == 8  # 7.5, to even


def test_a_buffer_may_change_by_more_than_a_trained_component() -> None:
    server = Server(built_in("FedAvg"), {"w": np.zeros(1), "variance": np.zeros(1)}, ["variance"], max_abs=1.0)
    server.round([Sent({"w": np.zeros(1), "variance": np.array([9e5])})])
    assert server.arrays["variance"][0] == pytest.approx(9e5, abs=1e-6)


@pytest.mark.parametrize("rule", ["FedAvg", "FedAdam"])
def test_320_tensors_are_one_tensor_in_pieces(rule: str) -> None:
    """More values than a block, at odd offsets."""
    rng, size = np.random.default_rng(0), 3 * BLOCK // 2 + 11
    values = [rng.normal(0, 0.1, size).astype(np.float32) for _ in range(4)]

    def pieces(array: Any) -> Arrays:
        return {f"t{i:03}": part for i, part in enumerate(np.array_split(array, 320))}

    one, many = (Server(built_in(rule), start) for start in ({"w": values[0]}, pieces(values[0])))
    for _ in range(2):
        one.round([Sent({"w": value}, examples=n) for n, value in enumerate(values, 1)])
        many.round([Sent(pieces(value), examples=n) for n, value in enumerate(values, 1)])
    assert one.model.tobytes() == many.model.tobytes()


def test_out_of_place_is_in_place_and_leaves_the_old_model() -> None:
    sent = [Sent({"w": np.array([0.1, 0.2], np.float32), "n": np.array([3])}, examples=2)]
    inside, outside = (Server(built_in("FedAvg"), {"w": np.ones(2, np.float32), "n": np.array([1])}) for _ in range(2))
    inside.round(sent)
    before, out = outside.model.tobytes(), outside.down.empty()
    outside.open(sent)
    outside.fold(sent[0])
    outside.aggregation.finish(outside.model, out)
    assert out.tobytes() == inside.model.tobytes()
    assert outside.model.tobytes() == before
