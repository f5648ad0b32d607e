"""The built-in update rules as the manifest knows them: their parameters, and what each needs of the round.

Formulas and sources are with the strategies; here stands only what can be checked before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from umbel.manifest.errors import Fault, nearest, path_of, shown
from umbel.manifest.scalars import OBJECT


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of a rule. ``default`` None: must be given. ``above``: ``low`` itself is out; ``below``: ``high`` is."""

    default: float | None
    low: float
    high: float
    above: bool = False
    below: bool = False

    def misfit(self, value: float) -> tuple[str, str] | None:
        """Fault and remedy of a value out of bounds."""
        if self.above and value <= self.low:
            return f"is not more than {shown(self.low)}", f"use more than {shown(self.low)}"
        if self.below and value >= self.high:
            return f"is not less than {shown(self.high)}", f"use less than {shown(self.high)}"
        if value < self.low:
            return f"is less than {shown(self.low)}", f"use at least {shown(self.low)}"
        if value > self.high:
            return f"is more than {shown(self.high)}", f"use at most {shown(self.high)}"
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """``forces``: manifest path below spec -> the one value under which the rule is right."""

    parameters: Mapping[str, Parameter]
    forces: Mapping[str, str] = field(default_factory=dict)


def _rate(default: float | None) -> Parameter:
    return Parameter(default, 0, 1000, above=True)


def _decay(default: float) -> Parameter:
    return Parameter(default, 0, 1, below=True)


_SERVER = {"serverLearningRate": _rate(1.0)}
_ADAPTIVE = {
    "serverLearningRate": _rate(0.1),
    "beta1": _decay(0.9),
    "beta2": _decay(0.99),
    "tau": Parameter(0.001, 0, 1, above=True),
}

BUILT_IN: Mapping[str, Rule] = MappingProxyType(
    {
        "FedAvg": Rule(_SERVER),
        "FedAvgM": Rule({**_SERVER, "momentum": _decay(0.9)}),
        # v grows by the square of every delta: there is nothing for beta2 to decay.
        "FedAdagrad": Rule({name: p for name, p in _ADAPTIVE.items() if name != "beta2"} | {"beta1": _decay(0.0)}),
        "FedYogi": Rule(_ADAPTIVE),
        "FedAdam": Rule(_ADAPTIVE),
        "FedProx": Rule({**_SERVER, "mu": Parameter(0.01, 0, 1000)}),
        "FedNova": Rule(
            {
                **_SERVER,
                "momentum": _decay(0.0),
                "mu": Parameter(0.0, 0, 1000),
                "clientLearningRate": Parameter(0.0, 0, 1000),  # only a proximal term needs it
                "cap": Parameter(4.0, 1, 100),
            },
            {"rounds.partialUpdates": "AsIs"},
        ),
        "q-FedAvg": Rule(
            {**_SERVER, "q": Parameter(1.0, 0, 10), "clientLearningRate": _rate(None)},
            {"rounds.selection": "ByExamples", "strategy.weighting": "Uniform"},
        ),
    }
)

# What a rule that forces nothing gets where the manifest is silent.
USUAL: Mapping[str, str] = MappingProxyType(
    {"rounds.partialUpdates": "Rescale", "rounds.selection": "Uniform", "strategy.weighting": "Examples"}
)


def rule(name: str) -> Rule | None:
    """The built-in rule of that name; None for a class of one's own, whose parameters only that class knows."""
    return BUILT_IN.get(name)


def check_name(name: str) -> Iterator[Fault]:
    """Faults of ``spec.strategy.name``."""
    if name not in BUILT_IN and not re.fullmatch(OBJECT, name):
        remedy = f"{nearest(name, list(BUILT_IN))} (a class of your own is named as module:Class)"
        yield Fault("spec.strategy.name", f"unknown strategy {shown(name)}", remedy)


def check_parameters(name: str, given: Mapping[str, float]) -> Iterator[Fault]:
    """Faults of ``spec.strategy.parameters`` under a built-in rule."""
    known = BUILT_IN[name].parameters
    for key, value in given.items():
        path = path_of(("spec", "strategy", "parameters", key))
        if key not in known:
            yield Fault(path, f"unknown parameter of {name}", nearest(key, list(known)))
        elif misfit := known[key].misfit(value):
            yield Fault(path, f"{shown(value)} {misfit[0]}", misfit[1])
    for key, parameter in known.items():
        if parameter.default is None and key not in given:
            yield Fault(f"spec.strategy.parameters.{key}", f"is missing; {name} has no default for it", "give a number")


def complete(name: str, given: Mapping[str, float]) -> dict[str, float]:
    """``given`` with every default of a built-in rule filled in, in the rule's order."""
    found = BUILT_IN.get(name)
    if found is None:
        return dict(given)
    defaults = {key: p.default for key, p in found.parameters.items() if p.default is not None}
    return {key: given.get(key, defaults.get(key, 0.0)) for key in found.parameters}
