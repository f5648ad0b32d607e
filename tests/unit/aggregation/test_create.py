"""Rules by name: what is to be had, and what is said of what is not."""

from __future__ import annotations

import pytest
from unit.aggregation.own_rule import Scaled

from umbel import rules
from umbel.aggregation.strategies import create
from umbel.aggregation.strategy import StrategyError

OWN = "unit.aggregation.own_rule"


@pytest.mark.parametrize("name", sorted(set(rules.BUILT_IN) - {"q-FedAvg"}))
def test_a_built_in_rule_has_the_defaults_of_the_manifest(name: str) -> None:
    assert create(name, {}).parameters == {key: p.default for key, p in rules.BUILT_IN[name].parameters.items()}


def test_a_rule_of_ones_own_has_its_defaults() -> None:
    strategy = create(f"{OWN}:Scaled", {"factor": 0.5})
    assert isinstance(strategy, Scaled)
    assert strategy.parameters == {"factor": 0.5, "bound": 1.0}


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("no_such_module:Rule", {}, ["spec.strategy.name", "no_such_module:Rule", "cannot be imported"]),
        (f"{OWN}:Missing", {}, ["spec.strategy.name", "Missing"]),
        (f"{OWN}:NoRule", {}, ["spec.strategy.name", "NoRule", "subclass"]),
        (f"{OWN}:Unfinished", {"factor": 1.0}, ["spec.strategy.name", "Unfinished", "step"]),
        (f"{OWN}:Scaled", {}, ["spec.strategy.parameters.factor", "missing"]),
        (f"{OWN}:Scaled", {"factor": 1.0, "fcator": 2.0}, ["spec.strategy.parameters.fcator", "Scaled"]),
        ("FedNova", {"mu": 2.0}, ["spec.strategy.parameters.mu", "learning rate"]),
        ("FedNova", {"mu": 4.0, "clientLearningRate": 0.5}, ["spec.strategy.parameters.mu", "at most 1"]),
        (
            "FedNova",
            {"mu": 0.5, "clientLearningRate": 0.1, "momentum": 0.9},
            ["spec.strategy.parameters.mu", "momentum"],
        ),
    ],
)
def test_what_is_not_to_be_had_is_said_in_one_line(name: str, parameters: dict[str, float], words: list[str]) -> None:
    with pytest.raises(StrategyError) as caught:
        create(name, parameters)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_the_opposite_of_what_a_rule_forces_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"spec\.strategy\.weighting.*Uniform"):
        create("q-FedAvg", {"clientLearningRate": 0.1}, "Examples")
