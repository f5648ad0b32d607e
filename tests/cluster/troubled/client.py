"""A client without data that misbehaves in the silo which the job's configuration names."""

from __future__ import annotations

import threading
import time

import numpy as np

import umbel

STEPS = 10


class Troubled(umbel.Client):
    """config: ``hangs``, the silo whose `fit` never returns; ``slow``, the one whose `fit` goes on until WrapUp.

    ``head.rounds`` counts the rounds that a silo has trained in: as a private parameter, in that silo alone.
    """

    def initial(self, ctx):
        return {"body.weight": np.zeros(64, np.float32), "head.rounds": np.zeros(1, np.float32)}

    def num_examples(self, ctx):
        return 20

    def fit(self, parameters, ctx):
        if ctx.config.get("hangs") == ctx.silo:
            threading.Event().wait()
        slow = ctx.config.get("slow") == ctx.silo
        for _ in ctx.steps(range(10**6 if slow else STEPS)):
            parameters["body.weight"] += 1 / STEPS
            time.sleep(0.01)
        parameters["head.rounds"] += 1
        return umbel.Update(parameters)

    def evaluate(self, parameters, ctx):
        return umbel.Evaluation(20, {"loss": 1 / (1 + float(parameters["body.weight"].mean()))})


app = Troubled()
