"""The workload of `rounds.py`: every silo adds 1 to every value and returns it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import umbel


class Echo(umbel.Client):
    def initial(self, ctx: umbel.Context) -> dict[str, NDArray[np.float32]]:
        """``megabytes`` (10⁶ bytes) of float32 in ``tensors`` equal tensors."""
        tensors = int(ctx.config["tensors"])
        each = int(ctx.config["megabytes"]) * 1_000_000 // 4 // tensors
        return {f"layer.{i:03d}": np.zeros(each, np.float32) for i in range(tensors)}

    def num_examples(self, ctx: umbel.Context) -> int:
        return 100

    def fit(self, parameters: dict[str, Any], ctx: umbel.Context) -> umbel.Update:
        for array in parameters.values():
            array += 1
        return umbel.Update(parameters)


app = Echo()
