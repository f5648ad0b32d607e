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


def create(name: str, parameters: Mapping[str, float], weighting: str = "Examples") -> Strategy:
    """Parameters of a built-in rule may be incomplete, but have been checked (`umbel.rules.check_parameters`).

    Raises StrategyError for a name, class or parameter that is not to be had.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](rules.complete(name, parameters), weighting)
    own = _own(name)
    return own(_complete(own, parameters), weighting)


def _own(name: str) -> type[Strategy]:
    where = "spec.strategy.name"
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's, and may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise StrategyError(f"{where}: {name} cannot be imported ({reason}); is its module on the path?") from None
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"{where}: {name} is not an umbel.aggregation.strategy.Strategy; make it a subclass")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise StrategyError(f"{where}: {name} is incomplete; define {missing}")
    return found


def _complete(own: type[Strategy], given: Mapping[str, float]) -> dict[str, float]:
    where = "spec.strategy.parameters"
    if unknown := sorted(set(given) - set(own.defaults)):
        known = ", ".join(own.defaults) or "none"
        raise StrategyError(f"{where}.{unknown[0]}: unknown parameter of {own.__name__}; it knows {known}")
    complete = {**own.defaults, **given}
    if missing := [key for key, value in complete.items() if value is None]:
        raise StrategyError(f"{where}.{missing[0]}: is missing; {own.__name__} has no default for it, give a number")
    return {key: value for key, value in complete.items() if value is not None}
