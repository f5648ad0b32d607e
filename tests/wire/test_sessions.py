"""The control channel, out of turn and out of range; the newest session of a silo stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from umbel.wire import umbel_pb2 as pb

from .cohort import MALLORY, SILOS, Cohort
from .deployment import eventually
from .speaking import Member, dial

import grpc  # isort: skip  (after speaking: the environment comes first)

pytestmark = pytest.mark.process

REFUSED = "fl_join_requests_total{outcome=refused}"


def another(cohort: Cohort, silo: str = MALLORY) -> Member:
    """One more connection of a silo that has one."""
    return Member(silo, dial(cohort.server.address, cohort.server.credentials(silo)))


async def refused(member: Member) -> pb.Refused:
    """The refusal that comes next and last."""
    message = await member.expect("refused")
    assert await member.hear() is None
    assert isinstance(message, pb.Refused)
    return message


@pytest.mark.parametrize("examples", [0, -1, 10**18, -(2**63), 2**63 - 1])
async def test_absurd_example_counts_are_refused_at_the_door(cohort: Cohort, examples: int) -> None:
    async with another(cohort) as second:
        await second.join(examples)
        message = await refused(second)
        assert (message.reason, message.permanent) == (pb.BAD_EXAMPLE_COUNT, True)
    moved = await cohort.settle(SILOS)
    assert moved[REFUSED] == 1


async def test_an_absurd_count_later_on_ends_the_session(cohort: Cohort) -> None:
    await cohort.mallory.declare(10**18)
    assert (await refused(cohort.mallory)).reason == pb.BAD_EXAMPLE_COUNT
    async with another(cohort) as again:
        await again.join(40)
        assert (await again.task()).round == cohort.task.round
        cohort.members[MALLORY] = cohort.mallory = again
        moved = await cohort.settle(SILOS)
        assert moved[REFUSED] == 1


async def test_a_weight_declared_during_a_round_counts_from_the_next(cohort: Cohort) -> None:
    mallory = cohort.mallory
    await mallory.declare(90)
    await cohort.settle(SILOS)
    mallory.examples = 90
    for declared in (mallory.examples, 40):
        await cohort.begin()
        await mallory.declare(declared)
        await cohort.settle(SILOS)


Saying = Callable[[pb.Task], pb.ClientMessage]
NOT_A_HELLO: dict[str, Saying] = {
    "declare": lambda t: pb.ClientMessage(declare=pb.Declare(num_examples=10)),
    "heartbeat": lambda t: pb.ClientMessage(heartbeat=pb.Heartbeat()),
    "stored": lambda t: pb.ClientMessage(stored=pb.Stored()),
    "nothing": lambda t: pb.ClientMessage(),
    "decline": lambda t: pb.ClientMessage(decline=pb.Decline(round=t.round, attempt=t.attempt, phase=pb.TRAIN)),
}


@pytest.mark.parametrize("kind", NOT_A_HELLO)
async def test_a_session_begins_with_hello(cohort: Cohort, kind: str) -> None:
    async with another(cohort) as second:
        second.open()
        await second.say(NOT_A_HELLO[kind](cohort.task))
        assert (await refused(second)).reason == pb.PROTOCOL_ERROR
    moved = await cohort.settle(SILOS)
    assert moved[REFUSED] == 1


async def test_a_version_that_nobody_speaks_is_refused(cohort: Cohort) -> None:
    async with another(cohort) as second:
        second.open()
        await second.hello([0, 2, 4_294_967_295])
        message = await refused(second)
        assert (message.reason, message.permanent) == (pb.NO_COMMON_VERSION, True)
    await cohort.settle(SILOS)


@pytest.mark.parametrize("kind", ["hello", "stored", "nothing"])
async def test_welcome_is_answered_with_declare(cohort: Cohort, kind: str) -> None:
    async with another(cohort) as second:
        second.open()
        await second.hello()
        await second.expect("welcome")
        await (second.hello() if kind == "hello" else second.say(NOT_A_HELLO[kind](cohort.task)))
        assert (await refused(second)).reason == pb.PROTOCOL_ERROR
    await cohort.settle(SILOS)


async def test_a_second_hello_ends_a_session_that_had_joined(cohort: Cohort) -> None:
    await cohort.mallory.hello()
    assert (await refused(cohort.mallory)).reason == pb.PROTOCOL_ERROR
    async with another(cohort) as again:
        await again.join(40)
        assert (await again.task()).round == cohort.task.round
        cohort.members[MALLORY] = cohort.mallory = again
        await cohort.settle(SILOS)


@pytest.mark.parametrize("at", ["first", "after Welcome", "as a member"])
async def test_garbage_ends_the_session_and_nothing_else(cohort: Cohort, at: str) -> None:
    async with another(cohort) as second:
        second.open()
        if at != "first":
            await second.hello()
            await second.expect("welcome")
        if at == "as a member":
            await second.declare(40)
            await second.task()
            assert (await cohort.mallory.expect("refused")).reason == pb.REPLACED
        await second.say(b"\xff\xff\xff\xff")
        assert (await refused(second)).reason == pb.PROTOCOL_ERROR
    async with another(cohort) as again:
        await again.join(40)
        assert (await again.task()).round == cohort.task.round
        cohort.members[MALLORY] = cohort.mallory = again
        await cohort.settle(SILOS)


@pytest.mark.parametrize("method", ["GetModel", "PutEvaluation"])
async def test_a_garbled_request_belongs_to_no_job(cohort: Cohort, method: str) -> None:
    kind = cohort.mallory.channel.unary_stream if method == "GetModel" else cohort.mallory.channel.unary_unary
    call = kind(f"/umbel.v1.Federation/{method}")(b"\xff\xff\xff\xff", timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if method == "GetModel" else call)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await cohort.settle(SILOS)


async def test_a_call_of_another_name_is_unimplemented(cohort: Cohort) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cohort.mallory.channel.unary_unary("/umbel.v1.Federation/Everything")(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await cohort.settle(SILOS)


async def test_the_newest_session_of_a_silo_replaces_the_older(cohort: Cohort) -> None:
    first = cohort.mallory
    async with another(cohort) as second:
        await second.join(40)
        message = await refused(first)
        assert (message.reason, message.permanent) == (pb.REPLACED, True)
        again = await second.task()
        assert (again.round, again.attempt, again.epoch) == (cohort.task.round, cohort.task.attempt, cohort.task.epoch)
        await eventually(lambda: cohort.server.metrics()["fl_silos{state=connected}"] == 4, "still four members")
        cohort.members[MALLORY] = cohort.mallory = second
        await cohort.settle(SILOS)


async def test_a_session_that_only_says_hello_replaces_nobody(cohort: Cohort) -> None:
    async with another(cohort) as second:
        second.open()
        await second.hello()
        await second.expect("welcome")
        await cohort.settle(SILOS)


async def test_declining_for_another_round_changes_nothing(cohort: Cohort) -> None:
    for change in ({"round": cohort.task.round + 1}, {"attempt": cohort.task.attempt + 1}, {"phase": pb.EVALUATE}):
        other = pb.Task()
        other.CopyFrom(cohort.task)
        for name, value in change.items():
            setattr(other, name, value)
        await cohort.mallory.decline(other)
    await cohort.mallory.say(b"\x22\x15\x08" + b"\xff" * 9 + b"\x01\x10\xff\xff\xff\xff\x0f\x18\x4d\x20\x4d")
    await cohort.mallory.say(pb.ClientMessage(stored=pb.Stored()))
    await cohort.settle(SILOS)


async def test_a_declined_task_is_counted_as_that(cohort: Cohort) -> None:
    await cohort.mallory.decline(cohort.task)

    # The decline and the upload travel on streams of their own: a message behind the decline says that it was heard.
    await cohort.mallory.hello()
    assert (await refused(cohort.mallory)).reason == pb.PROTOCOL_ERROR
    assert (await cohort.mallory.put(cohort.good_frames(MALLORY))).code == pb.ROUND_CLOSED
    async with another(cohort) as again:
        await again.join(40)
        await eventually(lambda: cohort.server.metrics()["fl_silos{state=connected}"] == 4, "silo-4 to be back")
        cohort.members[MALLORY] = cohort.mallory = again
        moved = await cohort.settle()
    assert moved["fl_client_updates_total{outcome=declined}"] == 1
