"""Members that die, dawdle or crowd the door: the others finish the round, and the server is as before afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from umbel.wire import frames
from umbel.wire import umbel_pb2 as pb

from .cohort import LATECOMER, MALLORY, SILOS, Cohort, gathered
from .deployment import PATIENCE, Deployment, deployed, eventually, manifest
from .speaking import Member, dial, header_frame

pytestmark = pytest.mark.process

PIECES = 8
PAUSE = 0.25  # seconds between two pieces of a slow upload


@asynccontextmanager
async def uploading(cohort: Cohort, sent: list[bytes]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of silo-4's that has sent these frames of an upload and hangs; it is killed in the end."""
    server = cohort.server
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wire.half_upload", server.address, str(server.folder / "silos" / MALLORY)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("\n".join(frame.hex() for frame in sent).encode())
        process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"sent\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("comes_back", [True, False], ids=["comes back", "is gone"])
@pytest.mark.parametrize("sent", ["half", "all but the commit"])
async def test_a_client_killed_during_its_upload(cohort: Cohort, sent: str, comes_back: bool) -> None:
    good = cohort.good_frames(MALLORY)
    data = cohort.update(MALLORY).tobytes()
    partial = good[:-1] if sent != "half" else [good[0], frames.data_frame(data[: len(data) // 2])]
    async with uploading(cohort, partial) as process:
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    if comes_back:
        await cohort.send(MALLORY)
    else:
        await cohort.mallory.decline(cohort.task)
    moved = await cohort.settle()
    assert moved["fl_client_updates_total{outcome=full}"] == (4 if comes_back else 3)
    assert moved["fl_client_updates_total{outcome=declined}"] == (0 if comes_back else 1)


async def test_a_slow_upload_succeeds_while_nobody_waits(cohort: Cohort) -> None:
    head, _, commit = cohort.good_frames(MALLORY)
    data = cohort.update(MALLORY).tobytes()
    step = -(-len(data) // PIECES)
    call = cohort.mallory.upload()
    await call.write(head)
    for start in range(0, len(data), step):
        await call.write(frames.data_frame(data[start : start + step]))
        await asyncio.sleep(PAUSE)  # this is the slowness
    await call.write(commit)
    await call.done_writing()
    assert pb.Ack.FromString(await call).code == pb.ACCEPTED
    cohort.accepted[MALLORY] = cohort.update(MALLORY)
    await cohort.settle()


async def test_an_upload_without_a_byte_gives_its_place_up(cohort: Cohort) -> None:
    call = await cohort.mallory.begin_upload(cohort.task, cohort.good_frames(MALLORY)[:1])
    assert pb.Ack.FromString(await call).code == pb.TRY_AGAIN
    await cohort.settle(SILOS)


async def test_a_newer_upload_of_a_silo_ends_the_older(cohort: Cohort) -> None:
    head, data, _ = cohort.good_frames(MALLORY)
    older = await cohort.mallory.begin_upload(cohort.task, [head, data])
    await cohort.send(MALLORY)
    assert pb.Ack.FromString(await older).code == pb.TRY_AGAIN
    await cohort.settle()


async def test_an_upload_under_way_when_the_round_closes_is_told_so(cohort: Cohort) -> None:
    late = await cohort.mallory.begin_upload(cohort.task, cohort.good_frames(MALLORY)[:2])
    await cohort.mallory.decline(cohort.task)
    await cohort.settle()
    assert pb.Ack.FromString(await late).code == pb.ROUND_CLOSED


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Deployment]:
    """A model of 24 MB, so that there is room for two uploads at a time."""
    rounds = {"total": 9, "updates": 5, "quorum": 3, "overSelection": 1.0, "timeoutSeconds": 120}
    app = {"client": "tiny:app", "config": {"size": 6_000_000}}
    with deployed(tmp_path, manifest([*SILOS, LATECOMER], rounds=rounds, app=app)) as running:
        yield running


async def test_members_that_trickle_do_not_keep_the_others_from_the_round(crowded: Deployment) -> None:
    async with gathered(crowded, [*SILOS, LATECOMER]) as cohort:
        slow = (MALLORY, LATECOMER)
        trickles = []
        for silo in slow:
            member = cohort.members[silo]
            first = [header_frame(member.header(cohort.task)), frames.data_frame(b"\0")]
            trickles.append(await member.begin_upload(cohort.task, first))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(cohort.send(silo) for silo in SILOS[:3]))
            answers = [pb.Ack.FromString(await call).code for call in trickles]
        assert answers == [pb.TRY_AGAIN] * 2
        moved = await cohort.settle(slow)
        assert moved["fl_client_updates_total{outcome=full}"] == 5


HALF_OPEN = 100


@asynccontextmanager
async def flood(cohort: Cohort) -> AsyncIterator[None]:
    """A hundred of everything that can be begun and left: connections, sessions, uploads."""
    server = cohort.server
    host, _, port = server.address.partition(":")
    head = header_frame(cohort.mallory.header(cohort.task))
    with ExitStack() as silent:
        async with AsyncExitStack() as stack:
            for _ in range(HALF_OPEN):
                silent.enter_context(socket.create_connection((host, int(port))))
                member = Member(MALLORY, dial(server.address, server.credentials(MALLORY)))
                await stack.enter_async_context(member)
                member.open()
                await member.hello()
                call = member.upload()
                await call.write(head)
                await call.write(frames.data_frame(b"\0" * 100))
                await member.expect("welcome")
            yield


async def test_a_hundred_half_open_calls_stop_nobody_and_leave_nothing_behind(cohort: Cohort) -> None:
    server = cohort.server
    descriptors = server.descriptors()
    resident = 0
    for _ in range(2):
        async with flood(cohort):
            assert server.descriptors() > descriptors + HALF_OPEN
            await cohort.settle(SILOS)
        await eventually(lambda: server.descriptors() <= descriptors, "the server's descriptors to be closed")
        growth, resident = server.resident() - resident, server.resident()
        await cohort.begin()
    assert growth < 8 * 2**20, "the first flood makes room in the allocator; the second finds it"
    await cohort.settle(SILOS)
