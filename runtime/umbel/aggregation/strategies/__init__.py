"""The update rules by name: built in, or a class of one's own as ``module:Class``."""

from __future__ import annotations

import importlib
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
    """Raises StrategyError for a name, class or parameter that is not to be had."""
    if name in BUILT_IN:
        return BUILT_IN[name](rules.complete(name, parameters), weighting)
    return _own(name)({**_own(name).defaults, **parameters}, weighting)


def _own(name: str) -> type[Strategy]:
    where = "spec.strategy.name"
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise StrategyError(f"{where}: {name} cannot be imported ({error}); is its module on the path?") from None
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"{where}: {name} is not an umbel.aggregation.strategy.Strategy; make it a subclass")
    return found
