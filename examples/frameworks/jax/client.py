"""train.py, federated: a small network learns scikit-learn's handwritten digits."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import umbel


def initial(key):
    first, second = jax.random.split(key)
    return {
        "hidden": {"weight": jax.random.normal(first, (64, 32)) / 8, "bias": jnp.zeros(32)},
        "output": {"weight": jax.random.normal(second, (32, 10)) / 6, "bias": jnp.zeros(10)},
    }


def scores(parameters, x):
    hidden = jax.nn.relu(x @ parameters["hidden"]["weight"] + parameters["hidden"]["bias"])
    return hidden @ parameters["output"]["weight"] + parameters["output"]["bias"]


def loss(parameters, x, y):
    return -jnp.mean(jax.nn.log_softmax(scores(parameters, x))[jnp.arange(len(y)), y])


@jax.jit
def step(parameters, x, y):
    gradients = jax.grad(loss)(parameters, x, y)
    return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients)


def batches_of(images, labels, size=16):
    """(training batches, held-out batches): every fifth example is held out."""
    images, held = (images / 16).astype(np.float32), np.arange(len(labels)) % 5 == 0
    x, y = images[~held], labels[~held]
    train = [(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]
    return train, [(images[held], labels[held])]


def train(parameters, batches):
    """One epoch."""
    for x, y in batches:
        parameters = step(parameters, x, y)
    return parameters


def evaluate(parameters, batches):
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    correct = jnp.argmax(scores(parameters, x), axis=1) == y
    return {"loss": float(loss(parameters, x, y)), "accuracy": float(correct.mean())}


def examples(ctx):
    """This silo's part of the digits: ``digits-<k>-of-<n>`` is every n-th of them."""
    _, k, _, n = ctx.dataset.name.split("-")
    images, labels = load_digits(return_X_y=True)
    return batches_of(images[int(k) - 1 :: int(n)], labels[int(k) - 1 :: int(n)])


app = umbel.jax.federate(initial, train, evaluate, examples)
