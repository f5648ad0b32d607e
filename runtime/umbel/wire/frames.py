"""Bulk data on the wire without message objects.

`ModelFrame` and `UpdateFrame` have the same three kinds under the same numbers. Header and commit go through protobuf;
a data frame is put together and taken apart by hand, since protobuf would copy every byte once more on each side.
"""

from __future__ import annotations

import numpy as np
import xxhash
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from umbel.wire import umbel_pb2 as pb
from umbel.wire.transport import Broadcast, Bytes

FRAME_BYTES = 2 * 1024 * 1024  # of data; larger frames gain nothing and hold memory longer
MAX_FRAME_BYTES = 4 * 1024 * 1024  # accepted from others
MAX_CONTROL_BYTES = 64 * 1024
IN_FLIGHT_BYTES = 32 * 1024 * 1024  # of all members together
PADDING = bytes(32 * 1024)  # after an upload: passes through every buffer in which its last bytes would stay

_DATA_TAG = 0x12  # field 2, length-delimited


class FrameError(ValueError):
    """Bytes that are no frame of the protocol."""


def _prefix(length: int) -> bytes:
    out = bytearray([_DATA_TAG])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


def data_frame(data: Bytes) -> bytes:
    """The encoded frame of some data: one copy."""
    return b"".join((_prefix(len(data)), data))


def payload(frame: bytes) -> memoryview | None:
    """The data of an encoded data frame as a view; None for a header or a commit.

    Raises FrameError when the length inside and the length of the frame disagree.
    """
    if not frame or frame[0] != _DATA_TAG:
        return None
    length = shift = 0
    for i in range(1, min(len(frame), 6)):
        length |= (frame[i] & 0x7F) << shift
        shift += 7
        if frame[i] < 0x80:
            if length != len(frame) - i - 1:
                raise FrameError("a data frame holds one data field and nothing else")
            return memoryview(frame)[i + 1 :]
    raise FrameError("a data frame without a length")


def control(frame: bytes, kind: type[pb.UpdateFrame] | type[pb.ModelFrame]) -> pb.UpdateFrame | pb.ModelFrame:
    """Parse a header or commit frame. Raises FrameError."""
    if len(frame) > MAX_CONTROL_BYTES:
        raise FrameError("a control frame is too long")
    try:
        return kind.FromString(frame)
    except DecodeError:
        raise FrameError("not a frame") from None


def share(members: int) -> int:
    """Bytes of a frame, and of a receive window, so that many members hold no more memory than few."""
    return min(FRAME_BYTES, max(256 * 1024, IN_FLIGHT_BYTES // members))


def broadcast(version: int, model: NDArray[np.uint8], frame_bytes: int = FRAME_BYTES) -> Broadcast:
    """Serialise a model once for everybody: encoded `ModelFrame`s, and the digest of their data."""
    digest = xxhash.xxh3_128()
    frames = []
    view = model.data
    for start in range(0, len(view), frame_bytes):
        piece = view[start : start + frame_bytes]
        digest.update(piece)
        frames.append(data_frame(piece))
    return Broadcast(version, model.nbytes, tuple(frames), digest.digest())
