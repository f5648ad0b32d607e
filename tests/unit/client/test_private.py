"""Private parameters: never on the wire, kept over restarts, the same start for the same round."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from safetensors.numpy import load_file

from umbel import Update
from umbel.client.state import State
from umbel.wire import umbel_pb2 as pb

from .fakes import Adding, FakeServer, member

SECRET = np.array([123.456, -654.321], np.float32)


class Headed(Adding):
    """Each training adds 1 to the head; ``seen`` is what it started from."""

    def __init__(self):
        self.seen = []

    def initial(self, ctx):
        return {"w": np.zeros(3, np.float32), "head.w": SECRET}

    def fit(self, parameters, ctx):
        self.seen.append(parameters["head.w"].tolist())
        parameters["head.w"] += np.float32(1)
        return Update(parameters)


@pytest.fixture
def server():
    return FakeServer({"w": np.arange(3, dtype=np.float32)}, local=("head.*",))


@asynccontextmanager
async def process(app, server, state):
    """One life of a silo's process."""
    task = asyncio.ensure_future(member(app, server, state).run())
    try:
        async with asyncio.timeout(60):
            yield await server.joined(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def train(server, session, round_, attempt=1):
    session.say(server.task(round_, attempt=attempt))
    return await server.updates.get()


async def test_the_first_start_takes_them_from_initial(server, tmp_path):
    app = Headed()
    async with process(app, server, tmp_path) as (session, _):
        await train(server, session, 1)
    assert app.seen == [SECRET.tolist()]


async def test_no_byte_of_them_is_on_the_wire(server, tmp_path):
    async with process(Headed(), server, tmp_path) as (session, _):
        for round_ in (1, 2):
            header, update = await train(server, session, round_)
            assert set(update) == {"w"}
            assert header.length == 3 * 4
    for value in (*SECRET, *(SECRET + 1), *(SECRET + 2)):
        assert np.float32(value).tobytes() not in bytes(server.sent)
    assert b"head" not in bytes(server.sent)


async def test_they_go_on_from_round_to_round_and_survive_the_process(server, tmp_path):
    app = Headed()
    async with process(app, server, tmp_path) as (session, _):
        await train(server, session, 1)
    async with process(app, server, tmp_path) as (session, _):
        await train(server, session, 2)
    assert app.seen[1] == (SECRET + 1).tolist()


async def test_a_repeated_attempt_starts_where_the_first_one_did(server, tmp_path):
    app = Headed()
    async with process(app, server, tmp_path) as (session, _):
        await train(server, session, 1)
        await train(server, session, 2)
        await train(server, session, 2, attempt=2)
    async with process(app, server, tmp_path) as (session, _):
        await train(server, session, 2, attempt=3)
        await train(server, session, 3)
    one, two = (SECRET + np.float32(1)).tolist(), (SECRET + np.float32(1) + np.float32(1)).tolist()
    assert app.seen == [SECRET.tolist(), one, one, one, two]


async def test_evaluation_sees_what_training_of_that_round_left(server, tmp_path):
    async with process(Headed(), server, tmp_path) as (session, _):
        await train(server, session, 1)
        session.say(server.task(1, phase=pb.EVALUATE))
        report = await server.evaluations.get()
    assert report.metrics["sum"] == pytest.approx(3 + float((SECRET + 1).sum()))


async def test_the_final_model_has_them(server, tmp_path):
    async with process(Headed(), server, tmp_path) as (session, task):
        await train(server, session, 1)
        session.say(server.finished())
        while (await session.heard()).WhichOneof("kind") != "stored":
            pass
        session.end()
        await task
    final = load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(final["head.w"], SECRET + 1)
    np.testing.assert_array_equal(final["w"], [0, 1, 2])


def test_two_generations_are_kept(tmp_path):
    state = State(tmp_path, "uid")
    for round_ in range(4):
        state.keep_private(round_, {"h": np.full(1, round_)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private-000002.safetensors", "private-000003.safetensors"]
    assert State(tmp_path, "uid").private(before=3)["h"].tolist() == [2]
    assert State(tmp_path, "uid").private(before=9)["h"].tolist() == [3]


def test_what_another_job_left_is_never_read(tmp_path):
    State(tmp_path, "old job").keep_private(1, {"h": np.ones(1)})
    state = State(tmp_path, "new job")
    assert not state.has_private()
    assert state.private(before=5) == {}


def test_a_write_that_is_cut_off_leaves_the_older_generation(tmp_path, monkeypatch):
    state = State(tmp_path, "uid")
    state.keep_private(1, {"h": np.ones(1)})
    monkeypatch.setattr("umbel.client.files._sync", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        state.keep_private(2, {"h": np.full(1, 2.0)})
    assert [p.name for p in tmp_path.iterdir()] == ["private-000001.safetensors"]
    assert State(tmp_path, "uid").private(before=9)["h"].tolist() == [1]
