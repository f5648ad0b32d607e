"""What a silo keeps between rounds and restarts: its private parameters, and in the end the final model.

Private parameters come in generations: the one of round r is what training in round r left behind (0: the app's
`initial`). A task of round r starts from the newest generation before r, so that an attempt that is repeated, in this
process or the next, starts where the first one did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from umbel.client.files import read_tensors, write_tensors
from umbel.wire.layout import Array

KEPT = 2  # generations: the round at hand may be attempted again


class State:
    """``directory`` of one silo in one job. What another job left there is never read."""

    def __init__(self, directory: Path, job_uid: str) -> None:
        self.directory = directory
        self._uid = job_uid
        self._generations: dict[int, dict[str, Array]] = {}
        self._load()

    def _load(self) -> None:
        for path in self.directory.glob("private-*.safetensors"):
            if (match := re.fullmatch(r"private-(\d{6})\.safetensors", path.name)) is None:
                continue
            arrays, metadata = read_tensors(path)
            if metadata.get("job_uid") == self._uid:
                self._generations[int(match[1])] = arrays
            else:
                path.unlink()

    def has_private(self) -> bool:
        return bool(self._generations)

    def private(self, before: int) -> dict[str, Array]:
        """The newest generation of a round below ``before``; empty for a job without private parameters."""
        if not self._generations:
            return {}
        older = [r for r in self._generations if r < before]
        return self._generations[max(older) if older else min(self._generations)]

    def keep_private(self, round_: int, arrays: Mapping[str, Array]) -> None:
        """Store the generation of ``round_`` atomically; drop those that no attempt can ask for any more."""
        if not arrays:
            return
        self._generations[round_] = {name: array.copy() for name, array in arrays.items()}
        write_tensors(self._path(round_), arrays, {"job_uid": self._uid, "round": str(round_)})
        for old in sorted(self._generations)[:-KEPT]:
            del self._generations[old]
            self._path(old).unlink(missing_ok=True)

    def keep_final(self, arrays: Mapping[str, Array], round_: int) -> Path:
        """Write ``model.safetensors``: the final model, the private part included."""
        path = self.directory / "model.safetensors"
        write_tensors(path, arrays, {"job_uid": self._uid, "round": str(round_)})
        return path

    def _path(self, round_: int) -> Path:
        return self.directory / f"private-{round_:06d}.safetensors"
