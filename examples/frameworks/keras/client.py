"""train.py, federated: a small network learns scikit-learn's handwritten digits."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or torch

import keras
import numpy as np
from sklearn.datasets import load_digits

import umbel


def network():
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)],
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"])
    return model


def batches_of(images, labels, size=16):
    """(training batches, held-out batches): every fifth example is held out. A remainder would be compiled anew."""
    images, held = (images / 16).astype(np.float32), np.arange(len(labels)) % 5 == 0
    x, y = images[~held], labels[~held]
    train = [(x[i : i + size], y[i : i + size]) for i in range(0, len(y) - size + 1, size)]
    return train, [(images[held], labels[held])]


def train(model, batches):
    """One epoch."""
    for x, y in batches:
        model.train_on_batch(x, y)


def evaluate(model, batches):
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    return model.evaluate(x, y, verbose=0, return_dict=True)


def examples(ctx):
    """This silo's part of the digits: ``digits-<k>-of-<n>`` is every n-th of them."""
    _, k, _, n = ctx.dataset.name.split("-")
    images, labels = load_digits(return_X_y=True)
    return batches_of(images[int(k) - 1 :: int(n)], labels[int(k) - 1 :: int(n)])


app = umbel.keras.federate(network, train, evaluate, examples)
