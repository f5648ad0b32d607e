"""A shared backbone under private heads: silos that look at the same things and name them differently.

Every silo numbers the digits in an order of its own. One model could not serve them all; one backbone can, with a head
in each silo. The manifest keeps `head.*` at home: it is trained, stored and restored there, and never sent.
"""

from collections import OrderedDict

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import umbel

torch.set_num_threads(1)  # a process per silo shares the cores: more threads would wait for one another


def network():
    backbone = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    return nn.Sequential(OrderedDict(backbone=backbone, head=nn.Linear(32, 10)))


def examples(ctx):
    """(training batches, held-out batches) of ``digits-<k>-of-<n>``, in the silo's own numbering."""
    _, k, _, n = ctx.dataset.name.split("-")
    images, labels = (array[int(k) - 1 :: int(n)] for array in load_digits(return_X_y=True))
    own = np.random.default_rng(int(k)).permutation(10)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(own[labels])
    held = torch.arange(len(y)) % 5 == 0
    train = list(zip(x[~held].split(16), y[~held].split(16), strict=True))
    return train, [(x[held], y[held])]


def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def evaluate(model, batches):
    ((x, y),) = batches
    scores = model(x)
    return {"loss": cross_entropy(scores, y).item(), "accuracy": (scores.argmax(1) == y).float().mean().item()}


app = umbel.torch.federate(network, train, evaluate, examples)
