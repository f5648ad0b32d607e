"""safetensors files, written block by block from where the numbers already are, and read back into one buffer.

A model's flat buffer is the data section of its file, so that writing it takes no second copy; SHA-256 is computed on
the way. A full disk is an OSError here, which it is not in the library that the format comes from.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umbel.server import files
from umbel.wire.layout import Array, Layout

BLOCK_BYTES = 4 * 1024 * 1024
CODES = {
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
}
NAMES = {code: name for name, code in CODES.items()}

Spec = tuple[str, str, tuple[int, ...], int]  # name, dtype, shape, bytes


def write_model(path: Path, layout: Layout, model: NDArray[np.uint8]) -> str:
    """Write the flat buffer of a layout; the file's SHA-256, hex. Raises OSError."""
    specs = [(t.name, t.dtype, t.shape, t.nbytes) for t in layout.tensors]
    return _write(path, specs, [model.data], {"buffers": json.dumps([t.name for t in layout.tensors if t.buffer])})


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> str:
    """Write arrays by name; the file's SHA-256, hex. Raises OSError, and ValueError for a dtype outside `CODES`."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)  # keeps every tensor aligned
    for name, array in ordered:
        if array.dtype.name not in CODES:
            raise ValueError(f"{name!r} is {array.dtype.name}; use one of {', '.join(CODES)}")
    specs = [(name, a.dtype.name, a.shape, a.nbytes) for name, a in ordered]
    return _write(path, specs, (_bytes_of(a) for _, a in ordered), {})


def read_model(path: Path) -> tuple[Layout, NDArray[np.uint8]]:
    """Layout and flat buffer of what `write_model` wrote. Raises OSError, ValueError or KeyError for another file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        buffers = frozenset(json.loads(header.pop("__metadata__")["buffers"]))
        layout = Layout.build((n, NAMES[t["dtype"]], tuple(t["shape"]), n in buffers) for n, t in header.items())
        model = layout.empty()
        if file.readinto(model.data) != layout.nbytes:
            raise ValueError(f"{path} is shorter than its header says")
    return layout, model


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, specs: Sequence[Spec], data: Iterable[memoryview], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    with files.synced(path) as file:
        for piece in (memoryview(_header(specs, metadata)), *data):
            for start in range(0, len(piece), BLOCK_BYTES):
                block = piece[start : start + BLOCK_BYTES]
                digest.update(block)
                file.write(block)
    return digest.hexdigest()


def _header(specs: Sequence[Spec], metadata: Mapping[str, str]) -> bytes:
    """Length, then JSON padded so that the data begins at a multiple of eight."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, dtype, shape, nbytes in specs:
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes_of(array: Array) -> memoryview:
    """An array's little-endian bytes; a view where it already is contiguous."""
    plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return plain.reshape(-1).view(np.uint8).data
