"""What FedAvgM and the adaptive rules share: arrays that live from round to round and survive a restart."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.aggregation.strategies.fedavg import FedAvg
from umbel.aggregation.strategy import Aggregate, Floats, StrategyError


class Stateful(FedAvg):
    """FedAvg's mean, and float64 arrays of one value per trained component, made at the first step."""

    def __init__(self, parameters: Mapping[str, float], weighting: str = "Examples") -> None:
        super().__init__(parameters, weighting)
        self.arrays: dict[str, Floats] = {}

    @abstractmethod
    def initial(self) -> dict[str, float]:
        """What each array is filled with at the first step, by name."""

    def begin_step(self, aggregate: Aggregate, trained: int) -> None:
        if not self.arrays:
            self.arrays = {name: np.full(trained, value) for name, value in self.initial().items()}

    def state(self) -> dict[str, NDArray[Any]]:
        return dict(self.arrays)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state and set(state) != set(self.initial()):
            raise StrategyError(f"the checkpoint's arrays {sorted(state)} are not those of {type(self).__name__}")
        self.arrays = {name: np.array(array, dtype=np.float64) for name, array in state.items()}
