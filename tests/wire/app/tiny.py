"""The smallest client with a tensor of every sort: trained floats, a buffer, integers; and a private head."""

from __future__ import annotations

import numpy as np

import umbel
from umbel.wire.layout import Array


class Tiny(umbel.Client):
    """The silo's name says what it brings: ``silo-3`` has 30 examples and adds 3 to everything trained."""

    def initial(self, ctx: umbel.Context) -> dict[str, object]:
        size = int(ctx.config["size"])
        return {
            "body.weight": np.linspace(-1, 1, size, dtype=np.float32),
            "body.bias": np.zeros(7, np.float64),
            "norm.mean": umbel.buffer(np.zeros(5, np.float32)),
            "norm.count": umbel.buffer(np.zeros((), np.int32)),
            "head.weight": np.ones(9, np.float32),
        }

    def num_examples(self, ctx: umbel.Context) -> int:
        return 10 * self._number(ctx)

    def fit(self, parameters: dict[str, Array], ctx: umbel.Context) -> umbel.Update:
        moved = {name: (array + self._number(ctx)).astype(array.dtype) for name, array in parameters.items()}
        return umbel.Update(moved, metrics={"loss": 1.0})

    def evaluate(self, parameters: dict[str, Array], ctx: umbel.Context) -> umbel.Evaluation:
        return umbel.Evaluation(self.num_examples(ctx), {"loss": float(np.mean(parameters["body.weight"]) ** 2)})

    @staticmethod
    def _number(ctx: umbel.Context) -> int:
        return int(ctx.silo.rpartition("-")[2])


app = Tiny()
