"""Half of the silos are slow: keeping what they managed to do beats dropping it, on the digits of the example."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from umbel.aggregation.checks import examine
from umbel.aggregation.round import RoundAggregation
from umbel.aggregation.strategies import create
from umbel.aggregation.strategy import RoundStart, UpdateFacts
from umbel.wire.layout import Layout

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
SILOS, ROUNDS, HIDDEN, BATCH, RATE = 10, 15, 32, 16, 0.1
MAX_ABS, CAP = 64.0, 4.0
DONE_BY_STRAGGLERS = 0.25  # of the steps of a round

Parameters = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def digits() -> Iterator[ModuleType]:
    """The example's client module; its neighbour is called ``data``, a name that others may want."""
    sys.path.insert(0, str(DIGITS))
    before = {name: sys.modules.pop(name, None) for name in ("client", "data")}
    try:
        yield importlib.import_module("client")
    finally:
        sys.path.remove(str(DIGITS))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


@dataclass(frozen=True)
class Silo:
    part: tuple[Any, Any, Any, Any]
    straggles: bool


def initial(classes: int) -> Parameters:
    draw = np.random.default_rng(0).standard_normal
    return {
        "hidden.weight": (draw((64, HIDDEN)) / 8).astype(np.float32),
        "hidden.bias": np.zeros(HIDDEN, np.float32),
        "output.weight": (draw((HIDDEN, classes)) / np.sqrt(HIDDEN)).astype(np.float32),
        "output.bias": np.zeros(classes, np.float32),
    }


def train(digits: ModuleType, parameters: Parameters, silo: Silo, seed: list[int]) -> tuple[int, int]:
    """One epoch in place, or the first steps of it; (steps done, steps planned)."""
    images, labels, *_ = silo.part
    batches = digits.batches_of(images, labels, BATCH, np.random.default_rng(seed))
    done = max(1, int(len(batches) * DONE_BY_STRAGGLERS)) if silo.straggles else len(batches)
    for x, y in batches[:done]:
        for name, gradient in digits.backward(parameters, x, y)[1].items():
            parameters[name] -= RATE * gradient
    return done, len(batches)


def accuracy_after(digits: ModuleType, silos: list[Silo], *, dropped: bool) -> float:
    """Of the model after all rounds, on everybody's held-out images, with partial updates dropped or rescaled."""
    start = initial(digits.CLASSES)
    layout = Layout.of(start)
    model = layout.empty()
    layout.pack(start, model)
    aggregation = RoundAggregation(layout, layout, create("FedAvg", {}), max_abs=MAX_ABS, largest_rescale=CAP)
    for round in range(1, ROUNDS + 1):
        aggregation.open(RoundStart(round, len(silos), sum(len(silo.part[0]) for silo in silos), 0.0))
        for number, silo in enumerate(silos):
            received = {name: view.astype(np.float32) for name, view in layout.views(model).items()}
            local = {name: array.copy() for name, array in received.items()}
            done, planned = train(digits, local, silo, [round, number])
            if done < planned and dropped:
                continue
            update = layout.empty()
            layout.pack({name: local[name] - array for name, array in received.items()}, update)
            examined = examine(update, layout, MAX_ABS)
            assert examined.fault is None
            facts = UpdateFacts(len(silo.part[0]), done, planned, examined.norm, {})
            aggregation.fold(update, facts, min(planned / done, CAP))
        assert aggregation.finish(model, model).finite
    images = np.concatenate([silo.part[2] for silo in silos])
    labels = np.concatenate([silo.part[3] for silo in silos])
    _, scores = digits.forward(layout.views(model), images)
    return float((scores.argmax(axis=1) == labels).mean())


def test_partial_updates_kept_beat_partial_updates_dropped(digits: ModuleType) -> None:
    parts = [digits.part(f"digits-{k}-of-{SILOS}") for k in range(1, SILOS + 1)]
    median = float(np.median([len(part[0]) for part in parts]))  # who has much to train on is not done in time
    silos = [Silo(part, straggles=len(part[0]) > median) for part in parts]
    assert sum(silo.straggles for silo in silos) == SILOS // 2
    kept, dropped = (accuracy_after(digits, silos, dropped=dropped) for dropped in (False, True))
    assert kept > dropped + 0.1
