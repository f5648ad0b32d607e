"""A small convolutional network on MNIST."""

import torch
from data import part
from torch import nn
from torch.nn.functional import cross_entropy

import umbel

torch.set_num_threads(1)  # a process per silo shares the cores: more threads would wait for one another


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    total, seen = 0.0, 0
    for x, y in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total, seen = total + loss.item() * len(y), seen + len(y)
    return total / seen if seen else None


def evaluate(model, batches):
    loss = correct = total = 0
    for x, y in batches:
        scores = model(x)
        loss += cross_entropy(scores, y, reduction="sum").item()
        correct += (scores.argmax(1) == y).sum().item()
        total += len(y)
    return {"loss": loss / total, "accuracy": correct / total}


def examples(ctx):
    return part(ctx.dataset.name, ctx.config["batchSize"])


app = umbel.torch.federate(network, train, evaluate, examples)
