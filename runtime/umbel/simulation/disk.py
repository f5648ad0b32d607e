"""The server's state directory, in memory: what was written survives a crash, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class DiskFull(Exception):
    """A checkpoint could not be written; what was there before still is."""


@dataclass
class Disk:
    """``state`` is the engine's snapshot as JSON; ``history`` the released rounds, written with it in one step."""

    version: int
    model: Bytes
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    state: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    full: bool = False

    def checkpoint(
        self, version: int, model: Bytes, arrays: dict[str, NDArray[np.generic]], snapshot: dict[str, Any]
    ) -> None:
        """Raises DiskFull."""
        if self.full:
            self.full = False
            raise DiskFull
        self.version = version
        self.model = model.copy()
        self.arrays = {name: array.copy() for name, array in arrays.items()}
        self.state = json.dumps(snapshot)

    def update(self, snapshot: dict[str, Any], released: dict[str, Any] | None = None) -> None:
        self.state = json.dumps(snapshot)
        if released is not None:
            self.history.append(released)

    def snapshot(self) -> dict[str, Any] | None:
        loaded: dict[str, Any] | None = json.loads(self.state) if self.state is not None else None
        return loaded
