"""The workload of `rounds.py`: every silo adds 1 to every value and returns it."""

from __future__ import annotations

import numpy as np

import umbel


class Echo(umbel.Client):
    def initial(self, ctx):
        """``megabytes`` (10⁶ bytes) of float32 in ``tensors`` equal tensors."""
        each = int(ctx.config["megabytes"] * 1_000_000 / 4 / ctx.config["tensors"])
        return {f"layer.{i:03d}": np.zeros(each, np.float32) for i in range(ctx.config["tensors"])}

    def num_examples(self, ctx):
        return 100

    def fit(self, parameters, ctx):
        for array in parameters.values():
            array += 1
        return umbel.Update(parameters)


app = Echo()
