"""Which species is it? Softmax regression on four measurements, trained where the penguins were measured.

An island has one or two of the three species, so alone it could not even know what the others look like.
"""

import csv
import importlib.util
from pathlib import Path

import numpy as np

import umbel

SPECIES = ["Adelie", "Chinstrap", "Gentoo"]
FEATURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
# Every silo must scale alike, and none knows the others' means: round numbers for penguins of this size.
CENTRE, SCALE = np.array([44, 17, 200, 4200]), np.array([5, 2, 14, 800])


def part(name):
    """(measurements, species) of ``penguins-<island>``; birds with a missing measurement are left out.

    The table is read where palmerpenguins' package lies: importing it would import pandas.
    """
    spec = importlib.util.find_spec("palmerpenguins")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the penguins come with palmerpenguins: pip install 'umbel[frameworks]'")
    with Path(spec.submodule_search_locations[0], "data/penguins.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if name == f"penguins-{row['island']}"]
    rows = [row for row in rows if all(row[f] not in ("", "NA") for f in FEATURES)]
    if not rows:
        raise ValueError(f"dataset {name!r}: no such island; use penguins-Biscoe, -Dream or -Torgersen")
    x = (np.array([[float(row[f]) for f in FEATURES] for row in rows]) - CENTRE) / SCALE
    return x, np.array([SPECIES.index(row["species"]) for row in rows])


def log_probabilities(parameters, x):
    scores = x @ parameters["weight"] + parameters["bias"]
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class Penguins(umbel.Client):
    _data = None

    def initial(self, ctx):
        return {"weight": np.zeros((len(FEATURES), len(SPECIES))), "bias": np.zeros(len(SPECIES))}

    def num_examples(self, ctx):
        return len(self.split(ctx)[0][1])

    def fit(self, parameters, ctx):
        (x, y), _ = self.split(ctx)
        batches = np.array_split(ctx.generator.permutation(len(y)), 4)
        for batch in ctx.steps(batches, epochs=ctx.config["epochs"]):
            error = np.exp(log_probabilities(parameters, x[batch]))
            error[np.arange(len(batch)), y[batch]] -= 1
            parameters["weight"] -= ctx.config["learningRate"] * x[batch].T @ error / len(batch)
            parameters["bias"] -= ctx.config["learningRate"] * error.mean(axis=0)
        return umbel.Update(parameters)

    def evaluate(self, parameters, ctx):
        _, (x, y) = self.split(ctx)
        found = log_probabilities(parameters, x)
        loss = -found[np.arange(len(y)), y].mean()
        return umbel.Evaluation(len(y), {"loss": loss, "accuracy": (found.argmax(axis=1) == y).mean()})

    def split(self, ctx):
        """Every fourth penguin is held out."""
        if self._data is None:
            x, y = part(ctx.dataset.name)
            held = np.arange(len(y)) % 4 == 0
            self._data = (x[~held], y[~held]), (x[held], y[held])
        return self._data


app = Penguins()
