"""The silo's copy of the model, and what may leave of it.

Two flat buffers live as long as the job: the model as received, and a working copy whose views the user's code gets.
They are reused from round to round, because touching fresh memory costs more than the arithmetic. Only tensors of
the server's layout are ever read into an update; private parameters are kept beside it, in arrays of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.client.api import Update
from umbel.client.difference import Difference, Flat
from umbel.wire.layout import Array, Layout, LayoutError, Region, matches

BLOCK = 64 * 1024  # values of a finite check: in cache


class ReturnError(ValueError):
    """What the user's code returned cannot be sent; one line for the silo's log."""


class Exchange:
    """``down``, ``up``: the server's layouts. ``local``: patterns of the names that stay. Raises LayoutError."""

    def __init__(self, down: Layout, up: Layout, local: Iterable[str]) -> None:
        self.down = down
        self.up = up
        self.local = tuple(local)
        self.model = down.empty()
        self.held = ""  # digest of the model in the buffer, hex; empty while there is none
        self._working = down.empty()
        self._difference = Difference(down, up)

    def parameters(self, private: Mapping[str, Array]) -> dict[str, Array]:
        """A fresh working copy by name, the private arrays (copies too) among them; all may be written to."""
        np.copyto(self._working, self.model)
        return {**self.down.views(self._working), **{name: array.copy() for name, array in private.items()}}

    def take(self, update: Update, private: Mapping[str, Array]) -> dict[str, Array]:
        """Put the shared part of what `fit` returned into the working copy, and give back the private part.

        A private tensor that is not returned stays as in ``private``. Raises ReturnError for a missing, surplus or
        misshapen tensor, another kind of dtype, or a value that is not finite.
        """
        arrays = {name: _array(name, value) for name, value in dict(update.parameters).items()}
        kept = {name: arrays.pop(name) for name in list(arrays) if matches(name, self.local)}
        if update.gradients:
            arrays = {**self._untrained(), **arrays}
        try:
            self.down.pack(self._detached(arrays), self._working)
        except LayoutError as error:
            raise ReturnError(str(error)) from error
        self._require_finite()
        return _merge(private, kept)

    def frames(self, *, gradients: bool) -> Iterator[memoryview]:
        """The update, computed piece by piece; may be asked for again until `parameters` is called."""
        return self._difference.frames(self._working, self.model, gradients=gradients)

    def _untrained(self) -> dict[str, Array]:
        views = self.down.views(self.model)
        return {t.name: views[t.name] for t in self.down.tensors if t.buffer or t.dtype not in ("float32", "float64")}

    def _detached(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """An array that lies in the working copy elsewhere than its own tensor would be overwritten while packing."""
        own = self.down.views(self._working)
        return {name: a.copy() if _strays(a, own.get(name), self._working) else a for name, a in arrays.items()}

    def _require_finite(self) -> None:
        for region in self.down.regions:
            if region.dtype.startswith("float") and (where := _not_finite(region, self._working)) is not None:
                name = next(t.name for t in self.down.tensors if t.offset <= where < t.offset + t.nbytes)
                raise ReturnError(f"tensor {name!r} has a value that is not finite; the training diverged here")


def _array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except Exception as error:  # whatever a foreign array type raises
        raise ReturnError(f"tensor {name!r} is a {type(value).__name__} that numpy cannot read: {error}") from error


def _strays(array: Array, own: Array | None, working: Flat) -> bool:
    if own is not None and array.ctypes.data == own.ctypes.data:
        return False
    return np.may_share_memory(array, working)


def _not_finite(region: Region, buffer: Flat) -> int | None:
    """Byte offset of the first value that is not finite. A dot product of a block with itself is finite unless one
    is (or is huge): one pass at the speed of memory."""
    values: NDArray[np.floating[Any]] = region.of(buffer)  # type: ignore[assignment]
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(block, block)):
                continue
        bad = np.flatnonzero(~np.isfinite(block))
        if len(bad):
            return region.start + (start + int(bad[0])) * values.itemsize
    return None


def _merge(private: Mapping[str, Array], kept: Mapping[str, Array]) -> dict[str, Array]:
    if surplus := sorted(set(kept) - set(private)):
        raise ReturnError(f"private tensor {surplus[0]!r} is not one that `initial` made")
    merged = dict(private)
    for name, array in kept.items():
        if array.shape != private[name].shape:
            raise ReturnError(f"private tensor {name!r} has shape {array.shape}; it was {private[name].shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ReturnError(f"private tensor {name!r} has a value that is not finite; the training diverged here")
        merged[name] = array.astype(private[name].dtype)
    return merged
