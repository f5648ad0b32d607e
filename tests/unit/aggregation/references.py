"""Every update rule once more, written another way: float64, all updates of all rounds held, closed forms.

Each takes the start x, the rounds (lists of `Sent` whose tensor is ``w``) and the parameters, and gives the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from unit.aggregation.cohort import Sent

Vector = NDArray[np.float64]
Rounds = Sequence[Sequence[Sent]]
Parameters = Mapping[str, float]


def _held(sent: Sequence[Sent]) -> Vector:
    return np.stack([one.arrays["w"].astype(np.float64) * one.rescale for one in sent])


def _mean(sent: Sequence[Sent]) -> Vector:
    return np.asarray(np.average(_held(sent), axis=0, weights=[one.examples for one in sent]))


def fedavg(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    return x + p["serverLearningRate"] * sum(_mean(sent) for sent in rounds)


def fedavgm(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    """Δ of round s is in every later step t, decayed t − s times."""
    steps = range(len(rounds))
    moved = [sum(p["momentum"] ** (t - s) * _mean(rounds[s]) for s in range(t + 1)) for t in steps]
    return x + p["serverLearningRate"] * sum(moved)


def _adaptive(x: Vector, rounds: Rounds, p: Parameters, second: Sequence[Vector]) -> Vector:
    for t in range(len(rounds)):
        first = sum((1 - p["beta1"]) * p["beta1"] ** (t - s) * _mean(rounds[s]) for s in range(t + 1))
        x = x + p["serverLearningRate"] * first / (second[t] ** 0.5 + p["tau"])
    return x


def fedadagrad(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    squares = [_mean(sent) ** 2 for sent in rounds]
    second = [np.asarray(p["tau"] ** 2 + sum(squares[: t + 1])) for t in range(len(rounds))]
    return _adaptive(x, rounds, p, second)


def fedadam(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    b2, squares = p["beta2"], [_mean(sent) ** 2 for sent in rounds]
    second = [
        np.asarray(b2 ** (t + 1) * p["tau"] ** 2 + sum((1 - b2) * b2 ** (t - s) * squares[s] for s in range(t + 1)))
        for t in range(len(rounds))
    ]
    return _adaptive(x, rounds, p, second)


def fedyogi(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    """v moves towards Δ² by (1 − b2)·Δ², up or down."""
    v = [p["tau"] ** 2] * len(x)
    second: list[Vector] = []
    for sent in rounds:
        for i, square in enumerate((_mean(sent) ** 2).tolist()):
            v[i] += (1 - p["beta2"]) * square * (1 if v[i] < square else -1 if v[i] > square else 0)
        second.append(np.array(v))
    return _adaptive(x, rounds, p, second)


def _length(steps: int, p: Parameters) -> float:
    """‖a‖₁, a written out: how much of gradient j is in the local change after all steps."""
    if p["mu"]:
        return math.fsum((1 - p["mu"] * p["clientLearningRate"]) ** (steps - 1 - j) for j in range(steps))
    return math.fsum(math.fsum(p["momentum"] ** i for i in range(steps - j)) for j in range(steps))


def fednova(x: Vector, rounds: Rounds, p: Parameters, planned: int) -> Vector:
    for sent in rounds:
        share = np.array([one.examples for one in sent]) / sum(one.examples for one in sent)
        lengths = np.array([_length(one.done, p) for one in sent])
        factors = np.minimum(1 / lengths, p["cap"] / _length(planned, p))
        x = x + p["serverLearningRate"] * (share @ lengths) * ((share * factors) @ _held(sent))
    return x


def qfedavg(x: Vector, rounds: Rounds, p: Parameters) -> Vector:
    """As the paper has it: with the losses themselves, no reference."""
    q, lipschitz = p["q"], 1 / p["clientLearningRate"]
    for sent in rounds:
        gradients = -lipschitz * _held(sent)
        steps = [one.loss**q * g for one, g in zip(sent, gradients, strict=True)]
        norms = [
            q * one.loss ** (q - 1) * (g @ g) + lipschitz * one.loss**q for one, g in zip(sent, gradients, strict=True)
        ]
        x = x - p["serverLearningRate"] * sum(steps) / sum(norms)
    return x
