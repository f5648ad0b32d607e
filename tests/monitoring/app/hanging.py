"""A rule of a job's own that does not end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats


class Hanging(FedAvg):
    """FedAvg that waits while the file ``do/step`` is in the test's control folder."""

    defaults: ClassVar[Mapping[str, float | None]] = {"serverLearningRate": 1.0}

    def step(self, aggregate: Aggregate, mean: Floats, where: slice) -> Floats:
        while (Path(os.environ["UMBEL_TEST_CONTROL"]) / "do/step").exists():
            time.sleep(0.01)
        return super().step(aggregate, mean, where)
