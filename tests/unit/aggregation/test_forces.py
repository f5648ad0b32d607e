"""What a rule forces: the manifest's table and the classes say the same, and the opposite is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from umbel import rules
from umbel.aggregation.strategies import BUILT_IN, create
from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import StrategyError

GIVEN = {"q-FedAvg": {"clientLearningRate": 0.1}}


class Even(FedAvg):
    """A rule of one's own that is right only uniformly, and only for whole work."""

    defaults: ClassVar[Mapping[str, float | None]] = {"serverLearningRate": 1.0}
    forces: ClassVar[Mapping[str, str]] = {"strategy.weighting": "Uniform", "rounds.partialUpdates": "Refuse"}


OWN = "unit.aggregation.test_forces:Even"


@pytest.mark.parametrize("name", rules.BUILT_IN)
def test_a_class_forces_what_the_manifest_says(name: str) -> None:
    assert dict(BUILT_IN[name].forces) == dict(rules.BUILT_IN[name].forces)


@pytest.mark.parametrize("name", rules.BUILT_IN)
def test_every_parameter_of_the_manifest_and_no_other_reaches_the_rule(name: str) -> None:
    given = GIVEN.get(name, {})
    assert set(create(name, given).parameters) == set(rules.BUILT_IN[name].parameters)
    with pytest.raises(StrategyError, match=r"^spec\.strategy\.parameters\.nonsense: unknown parameter"):
        create(name, {**given, "nonsense": 1.0})


def test_what_must_be_given_is_asked_for() -> None:
    with pytest.raises(StrategyError, match=r"^spec\.strategy\.parameters\.clientLearningRate: is missing"):
        create("q-FedAvg", {})


def test_without_a_weighting_a_rule_gets_the_one_that_it_forces() -> None:
    assert create(OWN, {}).uniform
    assert create("q-FedAvg", GIVEN["q-FedAvg"]).uniform
    assert not create("FedAvg", {}).uniform


@pytest.mark.parametrize(
    ("name", "weighting", "rounds", "field"),
    [
        ("q-FedAvg", "Examples", {}, "spec.strategy.weighting"),
        ("q-FedAvg", "Uniform", {"selection": "Uniform"}, "spec.rounds.selection"),
        ("FedNova", "Examples", {"partialUpdates": "Rescale"}, "spec.rounds.partialUpdates"),
        (OWN, "Examples", {}, "spec.strategy.weighting"),
        (OWN, "Uniform", {"partialUpdates": "AsIs"}, "spec.rounds.partialUpdates"),
    ],
)
def test_the_opposite_is_refused(name: str, weighting: str, rounds: dict[str, str], field: str) -> None:
    with pytest.raises(StrategyError) as refused:
        create(name, GIVEN.get(name, {}), weighting, rounds=rounds)
    assert str(refused.value).startswith(f"{field}: ")


def test_what_is_forced_may_be_said() -> None:
    create("FedNova", {}, "Examples", rounds={"partialUpdates": "AsIs", "selection": "Uniform"})
    create(OWN, {}, "Uniform", rounds={"partialUpdates": "Refuse", "selection": "ByExamples"})
