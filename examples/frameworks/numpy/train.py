"""Softmax regression in NumPy learns scikit-learn's handwritten digits."""

import numpy as np
from sklearn.datasets import load_digits


def initial():
    return {"weight": np.zeros((64, 10)), "bias": np.zeros(10)}


def log_softmax(scores):
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def load(k=1, n=1, size=16):
    """(training batches, held-out batches) of the k-th of n parts: every fifth example is held out."""
    images, labels = (array[k - 1 :: n] for array in load_digits(return_X_y=True))
    images, held = images / 16, np.arange(len(labels)) % 5 == 0
    x, y = images[~held], labels[~held]
    train = [(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]
    return train, [(images[held], labels[held])]


def train(parameters, batches):
    """In place; as many epochs as there are in ``batches``."""
    for x, y in batches:
        error = np.exp(log_softmax(x @ parameters["weight"] + parameters["bias"]))
        error[np.arange(len(y)), y] -= 1
        parameters["weight"] -= 0.1 * x.T @ error / len(y)
        parameters["bias"] -= 0.1 * error.mean(axis=0)
    return parameters


def evaluate(parameters, batches):
    """(examples, metrics)"""
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    scores = log_softmax(x @ parameters["weight"] + parameters["bias"])
    return len(y), {"loss": -scores[np.arange(len(y)), y].mean(), "accuracy": (scores.argmax(axis=1) == y).mean()}


def main():
    train_batches, test_batches = load()
    parameters = initial()
    for epoch in range(10):
        parameters = train(parameters, train_batches)
        print(epoch + 1, evaluate(parameters, test_batches))


if __name__ == "__main__":
    main()
