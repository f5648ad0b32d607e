"""A model as one flat little-endian buffer: the layout says which bytes are which tensor.

The server fixes the layout once; whatever travels is raw bytes against it. Tensors are ordered by (item size
descending, dtype, buffer or parameter), so that every tensor is aligned and all tensors of one dtype and kind are one
contiguous `Region`: arithmetic runs over regions, and the number of tensors does not matter.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
DTYPES = FLOATS + INTEGERS

Array = NDArray[np.generic]


class LayoutError(ValueError):
    """A set of tensors that cannot be a model, or arrays that do not fit the layout."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named array. ``offset`` in bytes; ``buffer`` marks what is not trained (BatchNorm statistics, counters)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    buffer: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Region:
    """A run of ``count`` values of one dtype and kind, from byte ``start``."""

    dtype: str
    buffer: bool
    start: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.count * np.dtype(self.dtype).itemsize

    @property
    def trained(self) -> bool:
        """Whether the update rule applies; buffers and integers are plain averages."""
        return not self.buffer and self.dtype in FLOATS

    def of(self, buffer: NDArray[np.uint8]) -> Array:
        """The region's values in a flat buffer, as a view."""
        return buffer[self.start : self.stop].view(self.dtype)


@dataclass(frozen=True)
class Layout:
    tensors: tuple[Tensor, ...]

    @classmethod
    def build(cls, specs: Iterable[tuple[str, str, tuple[int, ...], bool]]) -> Layout:
        """From (name, dtype, shape, buffer) in any order.

        Raises LayoutError for a duplicate name, an empty set or a dtype outside `DTYPES`.
        """
        listed = list(specs)
        names = [name for name, *_ in listed]
        if not listed:
            raise LayoutError("the model has no tensors")
        if twice := {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else set():
            raise LayoutError(f"tensor name used twice: {sorted(twice)[0]!r}")
        for name, dtype, _, _ in listed:
            if dtype not in DTYPES:
                raise LayoutError(f"tensor {name!r} is {dtype}; use one of {', '.join(DTYPES)}")
        listed.sort(key=lambda s: (-np.dtype(s[1]).itemsize, s[1], s[3]))
        tensors, offset = [], 0
        for name, dtype, shape, buffer in listed:
            tensors.append(Tensor(name, dtype, tuple(int(n) for n in shape), offset, buffer))
            offset = tensors[-1].offset + tensors[-1].nbytes
        return cls(tuple(tensors))

    @classmethod
    def of(cls, arrays: Mapping[str, Array], buffers: Iterable[str] = ()) -> Layout:
        marked = frozenset(buffers)
        return cls.build((n, a.dtype.name, a.shape, n in marked) for n, a in arrays.items())

    def upward(self) -> Layout:
        """The layout of an update: the same tensors, integers widened to int64 (a difference may be negative)."""
        return Layout.build(
            (t.name, t.dtype if t.dtype in FLOATS else "int64", t.shape, t.buffer) for t in self.tensors
        )

    def without(self, patterns: Iterable[str]) -> Layout:
        """Less the tensors whose name matches one of the shell-style ``patterns``."""
        keep = [t for t in self.tensors if not matches(t.name, patterns)]
        return Layout.build((t.name, t.dtype, t.shape, t.buffer) for t in keep)

    @cached_property
    def nbytes(self) -> int:
        return self.tensors[-1].offset + self.tensors[-1].nbytes

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        found: list[Region] = []
        for t in self.tensors:
            last = found[-1] if found else None
            if last and (last.dtype, last.buffer) == (t.dtype, t.buffer):
                found[-1] = Region(t.dtype, t.buffer, last.start, last.count + t.count)
            else:
                found.append(Region(t.dtype, t.buffer, t.offset, t.count))
        return tuple(r for r in found if r.count)

    def empty(self) -> NDArray[np.uint8]:
        """A zeroed buffer of this layout, aligned to 8 bytes."""
        words = np.zeros((self.nbytes + 7) // 8, dtype=np.uint64)
        return words.view(np.uint8)[: self.nbytes]

    def views(self, buffer: NDArray[np.uint8]) -> dict[str, Array]:
        """The tensors of a flat buffer by name, as views."""
        return {t.name: buffer[t.offset : t.offset + t.nbytes].view(t.dtype).reshape(t.shape) for t in self.tensors}

    def pack(self, arrays: Mapping[str, Array], into: NDArray[np.uint8]) -> None:
        """Copy ``arrays`` into a flat buffer; an array that already is the buffer's own view costs nothing.

        Raises LayoutError for a missing or surplus name, another shape, or a dtype of another kind.
        """
        if missing := [t.name for t in self.tensors if t.name not in arrays]:
            raise LayoutError(f"tensor {missing[0]!r} is missing")
        if surplus := sorted(set(arrays) - {t.name for t in self.tensors}):
            raise LayoutError(f"tensor {surplus[0]!r} is not in the model")
        for t, view in zip(self.tensors, self._iterate(into), strict=True):
            array = np.asarray(arrays[t.name])
            if array.shape != t.shape:
                raise LayoutError(f"tensor {t.name!r} has shape {array.shape}; the model's is {t.shape}")
            if array.dtype.kind != view.dtype.kind and not (array.dtype.kind in "iub" and view.dtype.kind in "iub"):
                raise LayoutError(f"tensor {t.name!r} is {array.dtype}; the model's is {t.dtype}")
            same = array.ctypes.data == view.ctypes.data and array.dtype == view.dtype and array.flags.c_contiguous
            if not same:
                view[...] = array.astype(view.dtype, copy=False)

    def _iterate(self, buffer: NDArray[np.uint8]) -> Iterator[Array]:
        for t in self.tensors:
            yield buffer[t.offset : t.offset + t.nbytes].view(t.dtype).reshape(t.shape)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a tensor's name matches one of the shell-style patterns (``head.*``), case-sensitively."""
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)
