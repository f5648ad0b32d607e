"""Softmax regression on the handwritten digits, with a pause in every step to stand for a machine's speed.

The slow silo needs twice a round's time for its epochs. At WrapUp `ctx.steps` ends, and what was done by then is sent;
the server scales it up to the whole plan (spec.rounds.partialUpdates) and the round closes on time with everybody in.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

import umbel

BATCH = 8


def log_probabilities(parameters, x):
    scores = x @ parameters["weight"] + parameters["bias"]
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class Straggling(umbel.Client):
    _data = None

    def initial(self, ctx):
        return {"weight": np.zeros((64, 10), np.float32), "bias": np.zeros(10, np.float32)}

    def num_examples(self, ctx):
        return len(self.split(ctx)[0][1])

    def fit(self, parameters, ctx):
        (x, y), _ = self.split(ctx)
        pause = ctx.config["secondsPerStep"] * (ctx.config["slowdown"] if ctx.silo == ctx.config["slowSilo"] else 1)
        order = ctx.generator.permutation(len(y))
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        for batch in ctx.steps(batches, epochs=ctx.config["epochs"]):
            time.sleep(pause)
            error = np.exp(log_probabilities(parameters, x[batch]))
            error[np.arange(len(batch)), y[batch]] -= 1
            parameters["weight"] -= 0.1 * x[batch].T @ error / len(batch)
            parameters["bias"] -= 0.1 * error.mean(axis=0)
        return umbel.Update(parameters)

    def evaluate(self, parameters, ctx):
        _, (x, y) = self.split(ctx)
        found = log_probabilities(parameters, x)
        loss = -found[np.arange(len(y)), y].mean()
        return umbel.Evaluation(len(y), {"loss": loss, "accuracy": (found.argmax(axis=1) == y).mean()})

    def split(self, ctx):
        """((training images, labels), (held-out images, labels)) of ``digits-<k>-of-<n>``."""
        if self._data is None:
            _, k, _, n = ctx.dataset.name.split("-")
            images, labels = (array[int(k) - 1 :: int(n)] for array in load_digits(return_X_y=True))
            held = np.arange(len(labels)) % 5 == 0
            x = (images / 16).astype(np.float32)
            self._data = (x[~held], labels[~held]), (x[held], labels[held])
        return self._data


app = Straggling()
