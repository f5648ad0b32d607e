"""Frames put together by hand are protobuf's, and what is no frame is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from umbel.wire import frames
from umbel.wire import umbel_pb2 as pb

SIZES = st.sampled_from([0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152])


@given(st.binary(max_size=300) | SIZES.map(bytes))
def test_a_data_frame_is_what_protobuf_makes_of_it(data: bytes) -> None:
    expected = pb.UpdateFrame(data=data).SerializeToString()
    assert frames.data_frame(data) == expected == pb.ModelFrame(data=data).SerializeToString()
    found = frames.payload(expected)
    assert found is not None
    assert found == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_frame_cut_or_extended_is_none(data: bytes, draw: st.DataObject) -> None:
    whole = frames.data_frame(data)
    cut = draw.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(frames.FrameError):
        frames.payload(whole[:cut])
    with pytest.raises(frames.FrameError):
        frames.payload(whole + draw.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_frame_or_a_frame_error(noise: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    try:
        found = frames.payload(noise)
        parsed = None if found is not None else frames.control(noise, pb.UpdateFrame)
    except frames.FrameError:
        return
    assert (found is None) != (parsed is None)


@pytest.mark.parametrize(
    "noise",
    [b"\x12", b"\x12\xff\xff\xff\xff\xff\xff", b"\x12\x80\x80\x80\x80\x80\x00", b"\x12\x05abcd", b"\x12\x03abcd"],
)
def test_lengths_that_lie_are_refused(noise: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.payload(noise)


def test_control_frames_are_bounded() -> None:
    header = pb.UpdateFrame(header=pb.UpdateHeader(job_uid="x" * frames.MAX_CONTROL_BYTES)).SerializeToString()
    assert frames.payload(header) is None
    with pytest.raises(frames.FrameError, match="too long"):
        frames.control(header, pb.UpdateFrame)


@given(st.integers(0, 3000), st.integers(1, 700))
def test_a_broadcast_is_the_model_in_pieces_and_its_digest(size: int, piece: int) -> None:
    model = np.arange(size, dtype=np.uint8)
    made = frames.broadcast(7, model, piece)
    data = [frames.payload(frame) or b"" for frame in made.frames]
    assert b"".join(data) == model.tobytes()
    assert all(len(part) == piece for part in data[:-1])
    assert (made.version, made.length, made.digest) == (7, size, xxhash.xxh3_128(model.tobytes()).digest())


@given(st.integers(1, 10_000))
def test_many_members_get_smaller_frames_within_the_bound(members: int) -> None:
    assert 256 * 1024 <= frames.share(members) <= frames.FRAME_BYTES <= frames.MAX_FRAME_BYTES
