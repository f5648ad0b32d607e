"""scikit-learn's 1,797 handwritten digits, and the unequal part of them that a silo has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np

CLASSES = 10
HELD_OUT = 5  # every fifth example is never trained on


def load() -> tuple[np.ndarray, np.ndarray]:
    """(images in 0…1 of shape (1797, 64), labels).

    The file is read where scikit-learn's package lies, without importing it: that import takes longer than all the
    training that this example does, and ten processes would pay for it.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the digits come with scikit-learn: pip install 'umbel[examples]'")
    table = np.loadtxt(Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz", delimiter=",")
    return (table[:, :-1] / 16.0).astype(np.float32), table[:, -1].astype(np.int64)


def part(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, labels, held-out images, labels) of ``digits-<k>-of-<n>``: each digit is dealt to the n silos
    in proportions drawn from Dirichlet(0.5), so silos differ in what they have and in how much."""
    if (match := re.fullmatch(r"digits-(\d+)-of-(\d+)", name)) is None:
        raise ValueError(f"dataset {name!r} is not digits-<k>-of-<n>")
    k, n = int(match[1]), int(match[2])
    images, labels = load()
    mine = deal(labels, n)[k - 1]
    held = np.arange(len(mine)) % HELD_OUT == 0
    train, test = mine[~held], mine[held]
    return images[train], labels[train], images[test], labels[test]


def deal(labels: np.ndarray, silos: int, alpha: float = 0.5, least: int = 20) -> list[np.ndarray]:
    """Indices of each silo's examples, the same in every process; drawn again until everybody has ``least``."""
    generator = np.random.default_rng(silos)
    while True:
        hands: list[list[np.ndarray]] = [[] for _ in range(silos)]
        for digit in range(CLASSES):
            where = generator.permutation(np.flatnonzero(labels == digit))
            cuts = np.cumsum(generator.dirichlet(np.full(silos, alpha)))[:-1] * len(where)
            for hand, share in zip(hands, np.split(where, cuts.astype(int)), strict=True):
                hand.append(share)
        dealt = [generator.permutation(np.concatenate(hand)) for hand in hands]
        if min(map(len, dealt)) >= least:
            return dealt
