"""A client without data of its own that misbehaves in the silo which the job's configuration names."""

from __future__ import annotations

import os
import threading
import time

import numpy as np

import umbel

STEPS, PAUSE = 10, 0.01
EXIT = 7
GREED = 2**30  # bytes; more than any pod here is to have


class Troubled(umbel.Client):
    """config: ``hangs``, the silo whose `fit` never returns; ``slow``, the one whose `fit` goes on until WrapUp;
    ``exits``, the one whose process ends before it has joined; ``greedy``, the one that takes too much memory in round
    ``greedyRound``. Of everybody's `fit`: ``steps``, and of each of them the ``pause`` and the ``work``, seconds of
    sleep and of CPU time.

    ``head.rounds`` counts the rounds that a silo has trained in: as a private parameter, in that silo alone.
    """

    def initial(self, ctx):
        return {"body.weight": np.zeros(64, np.float32), "head.rounds": np.zeros(1, np.float32)}

    def num_examples(self, ctx):
        if ctx.config.get("exits") == ctx.silo:
            os._exit(EXIT)
        return 20

    def fit(self, parameters, ctx):
        if ctx.config.get("hangs") == ctx.silo:
            threading.Event().wait()
        if ctx.config.get("greedy") == ctx.silo and ctx.config["greedyRound"] == ctx.round:
            np.ones(GREED, np.uint8)
        if ctx.dataset.path is not None:
            print(tried(ctx.dataset.path), flush=True)
        steps = 10**6 if ctx.config.get("slow") == ctx.silo else ctx.config.get("steps", STEPS)
        for _ in ctx.steps(range(steps)):
            parameters["body.weight"] += 1 / steps
            time.sleep(ctx.config.get("pause", PAUSE))
            work(ctx.config.get("work", 0.0))
        parameters["head.rounds"] += 1
        return umbel.Update(parameters)

    def evaluate(self, parameters, ctx):
        return umbel.Evaluation(20, {"loss": 1 / (1 + float(parameters["body.weight"].mean()))})


def tried(data):
    """What the silo's own volume holds, and what became of a write to it."""
    held = (data / "scan.txt").read_text()
    try:
        (data / "scan.txt").write_text("overwritten")
    except OSError as error:
        return f"{held}: {error.strerror}"
    return f"{held}: overwritten"


def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


app = Troubled()
