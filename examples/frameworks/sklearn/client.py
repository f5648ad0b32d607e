"""train.py, federated: a linear model learns the handwritten digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

import umbel

CLASSES = np.arange(10)


def classifier():
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05)


def batches_of(images, labels, size=32):
    """(training batches, held-out batches): every fifth example is held out."""
    images, held = images / 16, np.arange(len(labels)) % 5 == 0
    x, y = images[~held], labels[~held]
    train = [(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]
    return train, [(images[held], labels[held])]


def train(model, batches):
    """One epoch."""
    for x, y in batches:
        model.partial_fit(x, y, classes=CLASSES)


def evaluate(model, batches):
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    return {"loss": log_loss(y, model.predict_proba(x), labels=CLASSES), "accuracy": model.score(x, y)}


def examples(ctx):
    """This silo's part of the digits: ``digits-<k>-of-<n>`` is every n-th of them."""
    _, k, _, n = ctx.dataset.name.split("-")
    images, labels = load_digits(return_X_y=True)
    return batches_of(images[int(k) - 1 :: int(n)], labels[int(k) - 1 :: int(n)])


app = umbel.sklearn.federate(classifier, train, evaluate, examples, features=64, classes=CLASSES)
