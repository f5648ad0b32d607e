"""train.py, federated: a small network learns scikit-learn's handwritten digits."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import umbel


def network():
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def loaders(images, labels):
    """(training batches, held-out batches)"""
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=16, shuffle=True), DataLoader(test, batch_size=256)


def train(model, batches):
    """One epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def evaluate(model, batches):
    loss = correct = total = 0
    for x, y in batches:
        scores = model(x)
        loss += torch.nn.functional.cross_entropy(scores, y, reduction="sum").item()
        correct += (scores.argmax(1) == y).sum().item()
        total += len(y)
    return {"loss": loss / total, "accuracy": correct / total}


def examples(ctx):
    """This silo's part of the digits: ``digits-<k>-of-<n>`` is every n-th of them."""
    _, k, _, n = ctx.dataset.name.split("-")
    images, labels = load_digits(return_X_y=True)
    return loaders(images[int(k) - 1 :: int(n)], labels[int(k) - 1 :: int(n)])


app = umbel.torch.federate(network, train, evaluate, examples)
