"""The update rules by name: built in, or a class of one's own as ``module:Class``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping

from umbel import rules
from umbel.aggregation.strategies.adaptive import FedAdagrad, FedAdam, FedYogi
from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategies.fednova import FedNova
from umbel.aggregation.strategies.momentum import FedAvgM
from umbel.aggregation.strategies.qfedavg import QFedAvg
from umbel.aggregation.strategy import Strategy, StrategyError
from umbel.manifest.errors import nearest

BUILT_IN: Mapping[str, type[Strategy]] = {
    "FedAvg": FedAvg,
    "FedProx": FedAvg,  # the proximal term is the client's; the server averages
    "FedAvgM": FedAvgM,
    "FedAdagrad": FedAdagrad,
    "FedYogi": FedYogi,
    "FedAdam": FedAdam,
    "FedNova": FedNova,
    "q-FedAvg": QFedAvg,
}

NAME = "spec.strategy.name"


def create(
    name: str,
    parameters: Mapping[str, float],
    weighting: str | None = None,
    *,
    rounds: Mapping[str, str] | None = None,
) -> Strategy:
    """``weighting`` None: what the rule forces, else Examples. ``rounds``: what else a rule may force, by the field's
    name below ``spec.rounds`` (``partialUpdates``, ``selection``). Raises StrategyError for a name, class, parameter or
    setting that is not to be had."""
    made, complete = _known(name, parameters) if name in BUILT_IN else _own(name, parameters)
    if weighting is None:
        weighting = made.forces.get("strategy.weighting", "Examples")
    settings = {"strategy.weighting": weighting, **{f"rounds.{key}": value for key, value in (rounds or {}).items()}}
    for path, forced in made.forces.items():
        if settings.get(path, forced) != forced:
            raise StrategyError(f"spec.{path}: {settings[path]} does not go with {name}; set it to {forced}")
    return made(complete, weighting)


def _known(name: str, parameters: Mapping[str, float]) -> tuple[type[Strategy], Mapping[str, float]]:
    for fault in rules.check_parameters(name, parameters):
        raise StrategyError(str(fault))
    return BUILT_IN[name], rules.complete(name, parameters)


def _own(name: str, parameters: Mapping[str, float]) -> tuple[type[Strategy], Mapping[str, float]]:
    found = _imported(name)
    for key in parameters:
        if key not in found.defaults:
            remedy = nearest(key, list(found.defaults)) if found.defaults else "it has none"
            raise StrategyError(f"spec.strategy.parameters.{key}: unknown parameter of {name}; {remedy}")
    complete = {**found.defaults, **parameters}
    for key, value in complete.items():
        if value is None:
            fault = f"is missing; {name} has no default for it, give a number"
            raise StrategyError(f"spec.strategy.parameters.{key}: {fault}")
    return found, {key: value for key, value in complete.items() if value is not None}


def _imported(name: str) -> type[Strategy]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise StrategyError(f"{NAME}: unknown strategy {name}; {nearest(name, list(BUILT_IN))}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever somebody's module does while it is imported
        fault = " ".join(str(error).split()) or type(error).__name__
        raise StrategyError(f"{NAME}: {name} cannot be imported ({fault}); is its module on the path?") from None
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"{NAME}: {name} is not an umbel.aggregation.strategy.Strategy; make it a subclass")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise StrategyError(f"{NAME}: {name} leaves methods out ({missing}); write them")
    return found
