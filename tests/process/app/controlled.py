"""A client that a test steers through files: it says where it is, and stays there as long as the test wants.

The control folder is named by UMBEL_TEST_CONTROL. At each place (``fit``, ``evaluate``) the client writes the file
``at/<silo>.<place>.<round>`` with its process id and then obeys the files under ``do/``, of which the most
particular name counts: ``<place>.<round>.<silo>``, ``<place>.<round>``, ``<place>.<silo>``, ``<place>``. Their words:
``hold`` until the file is gone, heedless of WrapUp; ``slow``, step by step, until WrapUp or the file is gone;
``raise``; ``die``, killed in the middle; ``plant``, an update that is `PATTERN` throughout (of a model of zeros).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import umbel
from umbel.wire.layout import Array

STEPS = 8
PATTERN = b"\xef\xbe\xad\x3e"  # little-endian float32, about a third
SECRET = "patient-4711-in-a-traceback"  # what an exception may say, and nobody outside the silo may read


def order(place: str, ctx: umbel.Context) -> tuple[Path, str]:
    """(file, word) of the order in force; the word is empty if there is none."""
    folder = Path(os.environ["UMBEL_TEST_CONTROL"]) / "do"
    for name in (f"{place}.{ctx.round}.{ctx.silo}", f"{place}.{ctx.round}", f"{place}.{ctx.silo}", place):
        try:
            return folder / name, (folder / name).read_text()
        except OSError:
            continue
    return folder, ""


def obey(place: str, ctx: umbel.Context) -> None:
    at = Path(os.environ["UMBEL_TEST_CONTROL"]) / "at" / f"{ctx.silo}.{place}.{ctx.round}"
    at.with_suffix(at.suffix + "~").write_text(str(os.getpid()))
    at.with_suffix(at.suffix + "~").rename(at)
    file, word = order(place, ctx)
    if word == "raise":
        raise RuntimeError(SECRET)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while word == "hold" and file.exists():
        time.sleep(0.01)


def steps(ctx: umbel.Context) -> Iterator[int]:
    for step in ctx.steps(range(STEPS)):
        yield step
        file, word = order("fit", ctx)
        while word == "slow" and step == 2 and file.exists() and not ctx.should_stop:
            time.sleep(0.01)


class Controlled(umbel.Client):
    """A random walk by steps of its generator. ``loss`` falls round by round; ``draw`` is a new number each time."""

    def initial(self, ctx: umbel.Context) -> dict[str, object]:
        scale = float(ctx.config.get("scale", 1))
        return {
            "weight": (scale * ctx.generator.standard_normal(int(ctx.config["size"]))).astype(np.float32),
            "norm.mean": umbel.buffer(np.zeros(3, np.float32)),
            "norm.count": umbel.buffer(np.zeros((), np.int64)),
        }

    def num_examples(self, ctx: umbel.Context) -> int:
        return 20 + len(ctx.dataset.name)

    def fit(self, parameters: dict[str, Array], ctx: umbel.Context) -> umbel.Update:
        obey("fit", ctx)
        for _ in steps(ctx):
            walking = parameters["weight"][:100_000]
            walking[:] = np.add(walking, 0.01 * ctx.generator.standard_normal(walking.shape))
        if order("fit", ctx)[1] == "plant":
            parameters["weight"][:] = np.frombuffer(PATTERN, np.float32)
        parameters["norm.mean"] = parameters["norm.mean"] + 1
        parameters["norm.count"] = parameters["norm.count"] + 2
        return umbel.Update(parameters, metrics={"loss": 1.0 / ctx.round, "unheard-of": 5.0})

    def evaluate(self, parameters: dict[str, Array], ctx: umbel.Context) -> umbel.Evaluation:
        obey("evaluate", ctx)
        loss = float(ctx.config.get("loss", 1.0 / (1 + ctx.round)))
        return umbel.Evaluation(10, {"loss": loss, "draw": int.from_bytes(os.urandom(4), "big") / 2**32})


app = Controlled()
