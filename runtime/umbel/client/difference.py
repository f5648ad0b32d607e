"""local − received, in the order of the update's layout, one frame at a time.

The two layouts hold the same tensors in different orders, integers widened in one of them. Tensors that are
neighbours in both are one segment, so the work is a few vector operations a frame, however many tensors there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umbel.wire.frames import FRAME_BYTES
from umbel.wire.layout import FLOATS, Layout, LayoutError, Tensor

Flat = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Segment:
    """``count`` values, from byte ``up`` of the update and byte ``down`` of the model."""

    up: int
    down: int
    count: int
    up_dtype: np.dtype[np.generic]
    down_dtype: np.dtype[np.generic]
    trained: bool

    @property
    def end(self) -> int:
        return self.up + self.count * self.up_dtype.itemsize

    def joins(self, other: Segment) -> bool:
        """Whether ``other`` goes on where this one ends, in both layouts."""
        alike = (self.up_dtype, self.down_dtype, self.trained) == (other.up_dtype, other.down_dtype, other.trained)
        return alike and other.up == self.end and other.down == self.down + self.count * self.down_dtype.itemsize


def segments(down: Layout, up: Layout) -> tuple[Segment, ...]:
    """How the update's layout is filled from the model's. Raises LayoutError when it asks for what no model has."""
    source = {t.name: t for t in down.tensors}
    found: list[Segment] = []
    for t in up.tensors:
        if t.name not in source or source[t.name].shape != t.shape:
            raise LayoutError(f"the update's layout asks for {t.name!r}, which the model does not have in that shape")
        segment = _segment(source[t.name], t)
        if found and found[-1].joins(segment):
            last = found.pop()
            segment = Segment(last.up, last.down, last.count + t.count, last.up_dtype, last.down_dtype, last.trained)
        if segment.count:
            found.append(segment)
    return tuple(found)


def _segment(source: Tensor, target: Tensor) -> Segment:
    trained = not target.buffer and target.dtype in FLOATS
    dtypes = np.dtype(target.dtype), np.dtype(source.dtype)
    return Segment(target.offset, source.offset, target.count, *dtypes, trained)


class Difference:
    """Computes updates frame by frame into one frame that it reuses."""

    def __init__(self, down: Layout, up: Layout) -> None:
        self._segments = segments(down, up)
        self._length = up.nbytes
        self._frame = np.zeros(FRAME_BYTES // 8, dtype=np.uint64).view(np.uint8)

    def frames(self, local: Flat, model: Flat, *, gradients: bool) -> Iterator[memoryview]:
        """Consecutive pieces of the update; each is valid until the next is asked for.

        ``gradients``: the trained part of ``local`` holds a gradient g, and −g is what is sent.
        """
        for start in range(0, self._length, FRAME_BYTES):
            stop = min(start + FRAME_BYTES, self._length)
            for segment in self._segments:
                if segment.up < stop and segment.end > start:
                    self._fill(segment, start, stop, local, model, gradients)
            yield self._frame[: stop - start].data

    def _fill(self, segment: Segment, start: int, stop: int, local: Flat, model: Flat, gradients: bool) -> None:
        wide, narrow = segment.up_dtype, segment.down_dtype
        first = max(start, segment.up)
        last = min(stop, segment.end)
        begin = segment.down + (first - segment.up) // wide.itemsize * narrow.itemsize
        end = begin + (last - first) // wide.itemsize * narrow.itemsize
        out = self._frame[first - start : last - start].view(wide)
        mine, theirs = local[begin:end].view(narrow), model[begin:end].view(narrow)
        if gradients and segment.trained:
            np.negative(mine, out=out)
        elif wide == narrow:
            with np.errstate(over="ignore"):  # the server refuses what is out of range
                np.subtract(mine, theirs, out=out)
        else:
            np.subtract(mine.astype(wide), theirs.astype(wide), out=out)
