"""A small network in NumPy, trained by stochastic gradient descent: an `umbel.Client` written out by hand."""

from __future__ import annotations

import numpy as np
from data import CLASSES, part

import umbel


class Digits(umbel.Client):
    def initial(self, ctx):
        """64 inputs, one hidden layer, 10 outputs."""
        draw, hidden = ctx.generator.standard_normal, ctx.config["hidden"]
        return {
            "hidden.weight": (draw((64, hidden)) / 8).astype(np.float32),
            "hidden.bias": np.zeros(hidden, np.float32),
            "output.weight": (draw((hidden, CLASSES)) / np.sqrt(hidden)).astype(np.float32),
            "output.bias": np.zeros(CLASSES, np.float32),
        }

    def num_examples(self, ctx):
        return len(self.data(ctx)[0])

    def fit(self, parameters, ctx):
        images, labels, *_ = self.data(ctx)
        batches = batches_of(images, labels, ctx.config["batchSize"], ctx.generator)
        total = 0.0
        for x, y in ctx.steps(batches, epochs=ctx.config["epochs"]):
            loss, gradients = backward(parameters, x, y)
            total += loss * len(x)
            for name, gradient in gradients.items():
                parameters[name] -= ctx.config["learningRate"] * gradient
        return umbel.Update(parameters, metrics={"loss": total / (len(images) * ctx.config["epochs"])})

    def evaluate(self, parameters, ctx):
        *_, images, labels = self.data(ctx)
        _, scores = forward(parameters, images)
        loss = cross_entropy(scores, labels)
        return umbel.Evaluation(len(labels), {"loss": loss, "accuracy": (scores.argmax(axis=1) == labels).mean()})

    def data(self, ctx):
        if self._data is None:
            self._data = part(ctx.dataset.name)
        return self._data

    _data = None


def batches_of(images, labels, size, generator):
    order = generator.permutation(len(images))
    return [(images[order[i : i + size]], labels[order[i : i + size]]) for i in range(0, len(order), size)]


def forward(parameters, x):
    hidden = np.maximum(x @ parameters["hidden.weight"] + parameters["hidden.bias"], 0)
    return hidden, hidden @ parameters["output.weight"] + parameters["output.bias"]


def log_softmax(scores):
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(scores, labels):
    return float(-log_softmax(scores)[np.arange(len(labels)), labels].mean())


def backward(parameters, x, y):
    """Mean cross-entropy of a batch, and its gradients by name."""
    hidden, scores = forward(parameters, x)
    error = np.exp(log_softmax(scores))
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    inner = (error @ parameters["output.weight"].T) * (hidden > 0)
    return cross_entropy(scores, y), {
        "hidden.weight": x.T @ inner,
        "hidden.bias": inner.sum(axis=0),
        "output.weight": hidden.T @ error,
        "output.bias": error.sum(axis=0),
    }


app = Digits()
