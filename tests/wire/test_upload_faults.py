"""Whatever one member sends: it is refused as documented, counted at the release, and the round goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from umbel.wire import frames
from umbel.wire import umbel_pb2 as pb

from .cohort import MALLORY, SILOS, Cohort
from .deployment import Deployment
from .speaking import commit_frame, header_frame, spoiled, upload_frames

import grpc  # isort: skip  (after speaking: the environment comes first)

pytestmark = pytest.mark.process

Change = Callable[[dict[str, Any]], None]


def setting(name: str, value: float, index: Any = -1) -> Change:
    def change(views: dict[str, Any]) -> None:
        views[name].reshape(-1)[index] = value

    return change


BAD_VALUES = {
    "NaN": (setting("body.weight", np.nan), pb.NOT_FINITE),
    "+Inf": (setting("body.weight", np.inf, 0), pb.NOT_FINITE),
    "-Inf": (setting("body.bias", -np.inf), pb.NOT_FINITE),
    "NaN in a buffer": (setting("norm.mean", np.nan), pb.NOT_FINITE),
    "only NaN": (setting("body.weight", np.nan, slice(None)), pb.NOT_FINITE),
    "just beyond maxAbs": (setting("body.weight", 100.001), pb.OUT_OF_RANGE),
    "far beyond -maxAbs": (setting("body.bias", -1e300), pb.OUT_OF_RANGE),
    "a buffer beyond 10^6": (setting("norm.mean", 1.1e6), pb.OUT_OF_RANGE),
    "an integer beyond 10^12": (setting("norm.count", 10**12 + 1), pb.OUT_OF_RANGE),
    "the smallest integer": (setting("norm.count", -(2**63)), pb.OUT_OF_RANGE),
}


@pytest.mark.parametrize("fault", BAD_VALUES)
async def test_a_bad_value_spoils_one_update_and_nothing_else(cohort: Cohort, fault: str) -> None:
    change, reason = BAD_VALUES[fault]
    mallory = cohort.mallory
    data = spoiled(mallory.up, cohort.update(MALLORY), change)
    ack = await mallory.put(upload_frames(mallory.header(cohort.task), data))
    assert (ack.code, ack.reason) == (pb.REJECTED, reason)
    again = await mallory.put(cohort.good_frames(MALLORY))
    assert (again.code, again.reason) == (pb.REJECTED, reason), "a silo has one try an attempt"
    moved = await cohort.settle()
    assert cohort.rejections(moved) == {pb.RejectReason.Name(reason): 1}


async def test_a_component_of_exactly_max_abs_is_good(cohort: Cohort) -> None:
    mallory = cohort.mallory
    data = spoiled(mallory.up, cohort.update(MALLORY), setting("body.weight", 100.0))
    assert (await mallory.put(upload_frames(mallory.header(cohort.task), data))).code == pb.ACCEPTED
    cohort.accepted[MALLORY] = np.frombuffer(data, np.uint8)
    moved = await cohort.settle()
    assert cohort.rejections(moved) == {}


Frames = Callable[[Cohort, bytes], Iterable[bytes]]


def header(cohort: Cohort, **changed: Any) -> bytes:
    return header_frame(cohort.mallory.header(cohort.task, **changed))


MALFORMED_UPLOADS: dict[str, tuple[Frames, int]] = {
    "the header announces too little": (
        lambda c, d: [header(c, length=len(d) - 4), frames.data_frame(d[:-4]), commit_frame(d[:-4])],
        pb.WRONG_LENGTH,
    ),
    "the header announces too much": (
        lambda c, d: [header(c, length=len(d) + 8), frames.data_frame(d + bytes(8)), commit_frame(d + bytes(8))],
        pb.WRONG_LENGTH,
    ),
    "the header announces everything there is": (lambda c, d: [header(c, length=2**64 - 1)], pb.WRONG_LENGTH),
    "less data than announced": (
        lambda c, d: [header(c), frames.data_frame(d[:-4]), commit_frame(d[:-4])],
        pb.WRONG_LENGTH,
    ),
    "more data than announced": (
        lambda c, d: [header(c), frames.data_frame(d), frames.data_frame(b"x"), commit_frame(d + b"x")],
        pb.WRONG_LENGTH,
    ),
    "a commit without data": (lambda c, d: [header(c), commit_frame(b"")], pb.WRONG_LENGTH),
    "the digest of other bytes": (
        lambda c, d: [header(c), frames.data_frame(d), commit_frame(d[::-1])],
        pb.WRONG_DIGEST,
    ),
    "no digest": (lambda c, d: [header(c), frames.data_frame(d), commit_frame(d, b"")], pb.WRONG_DIGEST),
    "half a digest": (lambda c, d: [header(c), frames.data_frame(d), commit_frame(d)[:-8]], pb.MALFORMED),
    "two frames swapped": (
        lambda c, d: [header(c), frames.data_frame(d[400:]), frames.data_frame(d[:400]), commit_frame(d)],
        pb.WRONG_DIGEST,
    ),
    "a second header": (lambda c, d: [header(c), header(c), frames.data_frame(d), commit_frame(d)], pb.MALFORMED),
    "garbage after the header": (lambda c, d: [header(c), b"\xff\xff\xff\xff"], pb.MALFORMED),
    "garbage between data": (
        lambda c, d: [header(c), frames.data_frame(d[:400]), b"\x1f" * 100, commit_frame(d)],
        pb.MALFORMED,
    ),
    "an empty frame": (lambda c, d: [header(c), b"", frames.data_frame(d), commit_frame(d)], pb.MALFORMED),
    "a data frame that lies about its length": (
        lambda c, d: [header(c), frames.data_frame(d)[:-1], commit_frame(d)],
        pb.MALFORMED,
    ),
    "a data frame with more than data": (
        lambda c, d: [header(c), frames.data_frame(d) + header(c), commit_frame(d)],
        pb.MALFORMED,
    ),
    "a control frame of a megabyte": (lambda c, d: [header(c), b"\x1a" + bytes(2**20)], pb.MALFORMED),
    "more steps than planned": (
        lambda c, d: [header(c, steps_done=9), frames.data_frame(d), commit_frame(d)],
        pb.MALFORMED,
    ),
}


@pytest.mark.parametrize("fault", MALFORMED_UPLOADS)
async def test_an_upload_that_is_not_as_announced_ends_the_silos_part(cohort: Cohort, fault: str) -> None:
    build, reason = MALFORMED_UPLOADS[fault]
    ack = await cohort.mallory.put(build(cohort, cohort.update(MALLORY).tobytes()))
    assert (ack.code, ack.reason) == (pb.REJECTED, reason)
    moved = await cohort.settle()
    assert cohort.rejections(moved) == {pb.RejectReason.Name(reason): 1}


NO_HEADER: dict[str, Frames] = {
    "data first": (lambda c, d: [frames.data_frame(d), header(c), commit_frame(d)]),
    "a commit first": (lambda c, d: [commit_frame(d), header(c)]),
    "garbage first": (lambda c, d: [b"\xff" * 64]),
    "a header of a megabyte": (lambda c, d: [header(c, job_uid="x" * 2**20)]),
    "nothing at all": (lambda c, d: []),
}


@pytest.mark.parametrize("fault", NO_HEADER)
async def test_bytes_before_a_header_belong_to_no_round(cohort: Cohort, fault: str) -> None:
    ack = await cohort.mallory.put(NO_HEADER[fault](cohort, cohort.update(MALLORY).tobytes()))
    assert (ack.code, ack.reason) == (pb.REJECTED, pb.MALFORMED)
    moved = await cohort.settle(SILOS)
    assert cohort.rejections(moved).keys() == {"MALFORMED"}


CUT_OFF: dict[str, Frames] = {
    "only a header": (lambda c, d: [header(c)]),
    "half of the data": (lambda c, d: [header(c), frames.data_frame(d[: len(d) // 2])]),
    "everything but the commit": (lambda c, d: [header(c), frames.data_frame(d)]),
}


@pytest.mark.parametrize("fault", CUT_OFF)
async def test_an_upload_that_ends_early_may_come_again(cohort: Cohort, fault: str) -> None:
    ack = await cohort.mallory.put(CUT_OFF[fault](cohort, cohort.update(MALLORY).tobytes()))
    assert ack.code == pb.TRY_AGAIN
    await cohort.send(MALLORY)
    moved = await cohort.settle()
    assert cohort.rejections(moved) == {"TRUNCATED": 1}


STALE: dict[str, Callable[[pb.Task], dict[str, int]]] = {
    "the round before": (lambda t: {"round": t.round - 1}),
    "a round to come": (lambda t: {"round": t.round + 1}),
    "the attempt before": (lambda t: {"attempt": t.attempt - 1}),
    "an attempt to come": (lambda t: {"attempt": t.attempt + 1}),
    "a server of earlier": (lambda t: {"epoch": t.epoch - 1}),
    "round 2^64-1": (lambda t: {"round": 2**64 - 1}),
}


@pytest.mark.parametrize("fault", STALE)
async def test_an_update_for_another_round_attempt_or_epoch_is_dropped(cohort: Cohort, fault: str) -> None:
    mallory = cohort.mallory
    stale = mallory.header(cohort.task, **STALE[fault](cohort.task))
    ack = await mallory.put(upload_frames(stale, cohort.update(MALLORY).tobytes()))
    assert ack.code == pb.ROUND_CLOSED
    await cohort.settle(SILOS)


async def test_a_replay_is_accepted_again_and_counted_once(cohort: Cohort) -> None:
    await cohort.send(MALLORY)
    for _ in range(3):
        assert (await cohort.mallory.put(cohort.good_frames(MALLORY))).code == pb.ACCEPTED
    other = upload_frames(cohort.mallory.header(cohort.task), cohort.update(SILOS[0]).tobytes())
    assert (await cohort.mallory.put(other)).code == pb.ACCEPTED, "the first one counts, whatever comes later"
    recorded = cohort.good_frames(MALLORY)
    moved = await cohort.settle()
    assert moved["fl_client_updates_total{outcome=full}"] == 4
    assert (await cohort.mallory.put(recorded)).code == pb.ROUND_CLOSED


async def test_an_update_for_another_job_is_refused(cohort: Cohort) -> None:
    mallory = cohort.mallory
    other = upload_frames(mallory.header(cohort.task, job_uid="uid-of-another"), cohort.update(MALLORY).tobytes())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mallory.put(other)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mallory.evaluate(cohort.task, 5, {}, uid="uid-of-another")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    moved = await cohort.settle(SILOS)
    assert cohort.rejections(moved).keys() == {"OTHER_JOB"}
    assert moved["fl_grpc_requests_total{code=FAILED_PRECONDITION,method=PutUpdate}"] >= 1
    assert moved["fl_grpc_requests_total{code=FAILED_PRECONDITION,method=PutEvaluation}"] == 1


async def test_an_evaluation_during_training_counts_nowhere(cohort: Cohort) -> None:
    for examples in (0, -1, 10**18):
        ack = await cohort.mallory.evaluate(cohort.task, examples, {"loss": 0.0})
        assert (ack.code, ack.reason) == (pb.REJECTED, pb.BAD_EXAMPLES)
    assert (await cohort.mallory.evaluate(cohort.task, 5, {"loss": 0.0})).code == pb.ROUND_CLOSED
    await cohort.settle(SILOS)


async def test_an_oversize_frame_ends_the_call(cohort: Cohort) -> None:
    mallory = cohort.mallory
    sent = [header_frame(mallory.header(cohort.task)), frames.data_frame(bytes(frames.MAX_FRAME_BYTES + 4096))]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mallory.put(sent)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await cohort.settle(SILOS)


async def test_a_compressed_message_ends_the_call(cohort: Cohort) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cohort.mallory.put(cohort.good_frames(MALLORY), compression=grpc.Compression.Gzip)
    assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
    await cohort.settle(SILOS)


async def test_a_flood_of_metadata_is_refused(cohort: Cohort) -> None:
    flood = [(f"x-flood-{i}", "x" * 1000) for i in range(64)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cohort.mallory.put(cohort.good_frames(MALLORY), metadata=flood)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await cohort.settle(SILOS)


async def test_nothing_of_a_refusal_is_seen_before_the_release(cohort: Cohort) -> None:
    mallory = cohort.mallory
    data = spoiled(mallory.up, cohort.update(MALLORY), setting("body.weight", np.nan))
    await mallory.put(upload_frames(mallory.header(cohort.task), data))
    await cohort.send(SILOS[0])
    shown = cohort.server.metrics()
    live = ("process_", "python_", "fl_silos", "fl_job_status_phase", "fl_round_deadline")
    moved = {k for k, v in shown.items() if v != cohort.baseline[k] and not k.startswith(live)}
    assert moved == set()
    await cohort.settle(SILOS[1:3])


async def test_a_member_outside_the_cohort_cannot_upload(cohort: Cohort, server: Deployment) -> None:
    from .cohort import LATECOMER
    from .speaking import Member, dial

    async with Member(LATECOMER, dial(server.address, server.credentials(LATECOMER))) as late:
        await late.join(50)
        data = cohort.update(MALLORY).tobytes()
        ack = await late.put(upload_frames(late.header(cohort.task), data))
        assert (ack.code, ack.reason) == (pb.REJECTED, pb.NOT_IN_COHORT)
    moved = await cohort.settle(SILOS)
    assert cohort.rejections(moved).keys() == {"NOT_IN_COHORT"}
