"""Several ranks as one client, in one process: over real channels, with threads for their user code."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel import Client, Context, Evaluation, Update
from umbel.client.context import Dataset
from umbel.client.ranks import leader as leading
from umbel.client.ranks import meeting
from umbel.client.ranks.follower import follow
from umbel.client.ranks.leader import Leader, RankError, RankLost
from umbel.client.ranks.place import ALONE, Place, place
from umbel.client.ranks.points import Points
from umbel.client.silo import Site
from umbel.client.steps import Progress
from umbel.client.worker import Worker
from umbel.wire import pki
from umbel.wire.credentials import Credentials

HOST = "127.0.0.1"
STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
LOST = 75


class Collective:
    """What gloo is to real ranks: nobody gets on before all are there."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size)
        self._lock = threading.Lock()
        self._sum = 0.0

    def reduce(self, value: float) -> float:
        with self._lock:
            self._sum += value
        self._barrier.wait(30)
        total = self._sum
        if self._barrier.wait(30) == 0:
            self._sum = 0.0
        self._barrier.wait(30)
        return total


class App(Client):
    """Reduces at every step; ``at_step`` is called with rank and step."""

    def __init__(self, size: int, at_step: Callable[[int, int], None] = lambda rank, step: None) -> None:
        self.collective = Collective(size)
        self.at_step = at_step
        self.steps: dict[int, int] = {}
        self.seen: list[tuple[Any, ...]] = []

    def num_examples(self, ctx: Context) -> int:
        self.seen.append(("num_examples", ctx.rank))
        return int(self.collective.reduce(10))

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        self.seen.append((ctx.rank, ctx.world_size, ctx.round, ctx.config["lr"], float(ctx.generator.random())))
        total = 0.0
        for step in ctx.steps(range(1000)):
            self.steps[ctx.rank] = step + 1
            self.at_step(ctx.rank, step)
            total = self.collective.reduce(float(parameters["w"].sum()))
        parameters["w"] += total
        return Update(parameters)

    def evaluate(self, parameters: dict[str, Any], ctx: Context) -> Evaluation:
        while not ctx.should_stop:
            self.steps[ctx.rank] = self.steps.get(ctx.rank, 0) + 1
            self.at_step(ctx.rank, self.steps[ctx.rank])
            self.collective.reduce(1)
        return Evaluation(1, {})


class Ranks:
    def __init__(self, leader: Leader, worker: Worker, followers: list[asyncio.Task[int]]) -> None:
        self.leader, self.worker, self.followers = leader, worker, followers
        self.progress = Progress()

    def context(self) -> Context:
        return Context("a", Dataset("d"), {"lr": 0.5}, 3, 4, None, "FedAvg", {}, self.progress)

    async def fit(self) -> Update:
        parameters = {"w": np.ones((2, 2), np.float32), "n": np.array(3), "empty": np.zeros((0, 4))}
        return await self.worker.run(self.leader.fit, parameters, self.context())


def credentials(folder: Path, silo: str = "a") -> Credentials:
    known = (folder / "ca/ca.key").exists()
    authority = pki.Authority.load(folder / "ca") if known else pki.Authority.create(folder / "ca")
    authority.issue(folder / silo, pki.silo_id("example.org", silo))
    return Credentials(*(folder / silo / name for name in ("tls.crt", "tls.key", "ca.crt")))


@contextlib.asynccontextmanager
async def ranks(app: Client, size: int, folder: Path) -> AsyncIterator[Ranks]:
    shown = credentials(folder)
    site = Site("a", Dataset("d"), folder)
    places = [Place(rank, size, rank, "7.0.0") for rank in range(size)]
    followers = [asyncio.create_task(follow(app, site, where, shown, LOST)) for where in places[1:]]
    worker = Worker()
    try:
        async with leading.leading(app, folder, places[0], shown, HOST) as leader:
            yield Ranks(leader, worker, followers)
    finally:
        worker.close()
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


@pytest.mark.parametrize("size", [2, 3])
async def test_all_ranks_stop_at_the_same_step(size: int, tmp_path: Path) -> None:
    """Whoever is ahead when the word comes: the first rank is told at its seventh step."""
    app = App(size)
    async with ranks(app, size, tmp_path) as made:
        app.at_step = lambda rank, step: made.progress.stop.set() if (rank, step) == (0, 6) else None
        update = await made.fit()
        assert made.progress.partial
        assert len(set(app.steps.values())) == 1
        assert app.steps[0] == made.progress.done >= 7
    assert np.array_equal(update.parameters["w"], np.full((2, 2), 1 + 4 * size))
    assert [await follower for follower in made.followers] == [0] * (size - 1)
    assert len({values[2:] for values in app.seen}) == 1  # round, config, random numbers
    assert sorted(values[:2] for values in app.seen) == [(rank, size) for rank in range(size)]


async def test_a_loop_that_asks_for_itself_stops_everywhere(tmp_path: Path) -> None:
    app = App(3)
    async with ranks(app, 3, tmp_path) as made:
        app.at_step = lambda rank, step: made.progress.stop.set() if (rank, step) == (2, 5) else None
        await made.worker.run(made.leader.evaluate, {}, made.context())
    assert len(set(app.steps.values())) == 1


async def test_one_call_after_another(tmp_path: Path) -> None:
    app = App(2)
    async with ranks(app, 2, tmp_path) as made:
        assert await made.worker.run(made.leader.num_examples, made.context()) == 20
        made.progress.stop.set()
        await made.fit()
        assert app.steps.get(0, 0) == app.steps.get(1, 0) == made.progress.done <= 1  # one may have begun its first
        made.progress.stop.clear()
        app.at_step = lambda rank, step: made.progress.stop.set() if step == 3 else None
        await made.fit()
        assert len(set(app.steps.values())) == 1
        assert not meeting.place_of(tmp_path, Place(0, 2, 0, "7.0.0")).exists()


class Faulty(App):
    def __init__(self, bad: int) -> None:
        super().__init__(2)
        self.bad = bad

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        for step in ctx.steps(iter(int, 1)):
            if ctx.rank == self.bad and step == 0:
                raise ValueError("secret")
        return Update(parameters)


async def test_a_rank_that_raises_has_the_silo_decline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its traceback is in its own log."""
    async with ranks(Faulty(1), 2, tmp_path) as made:
        with pytest.raises(RankError, match="rank 1: `fit` raised ValueError") as raised:
            await made.leader.guard(made.fit())
        assert "secret" not in str(raised.value)
        made.progress.stop.clear()
    assert "the client's `fit` raised" in caplog.text


async def test_the_first_rank_that_raises_stops_the_others(tmp_path: Path) -> None:
    async with ranks(Faulty(0), 2, tmp_path) as made:
        with pytest.raises(ValueError, match="secret"):
            await made.leader.guard(made.fit())
    assert await made.followers[0] == 0


async def test_ranks_that_wait_in_vain_for_one_that_failed(tmp_path: Path) -> None:
    release = threading.Event()

    class Stuck(App):
        def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
            if ctx.rank == 1:
                raise ValueError
            release.wait(60)
            return Update(parameters)

    async with ranks(Stuck(2), 2, tmp_path) as made:
        made.leader._patience = 0.1
        with pytest.raises(RankLost, match="another rank has not returned"):
            await made.leader.guard(made.fit())
        release.set()


async def test_the_loss_of_a_rank_ends_the_first(tmp_path: Path) -> None:
    async with ranks(App(2), 2, tmp_path) as made:
        made.followers[0].cancel()
        with pytest.raises(RankLost, match="rank 1: the other rank has gone"):
            await made.leader.guard(asyncio.Event().wait())


async def test_the_loss_of_the_first_ends_the_others(tmp_path: Path) -> None:
    async with ranks(App(2), 2, tmp_path) as made:
        made.leader._peers[1]._writer.transport.abort()
        assert await made.followers[0] == LOST


async def test_a_rank_with_another_key_is_no_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a silo of the same federation, and reads the address; that gets it nothing."""
    monkeypatch.setattr(meeting, "MEETING_SECONDS", 2.0)
    shown, other = credentials(tmp_path), credentials(tmp_path, "b")
    site = Site("b", Dataset("d"), tmp_path)
    stranger = asyncio.create_task(follow(App(2), site, Place(1, 2, 1, "7.0.0"), other, LOST))
    with pytest.raises(RankLost, match="not all of the 2 ranks came"):
        await leading.meet(App(2), tmp_path, Place(0, 2, 0, "7.0.0"), shown, HOST)
    assert await stranger == LOST


async def test_an_earlier_attempt_is_no_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node was lost, and came back: it finds the address of the next attempt, under a name that is not its own."""
    monkeypatch.setattr(meeting, "MEETING_SECONDS", 2.0)
    monkeypatch.setattr(meeting, "place_of", lambda state, place: state / "ranks-any.json")
    shown = credentials(tmp_path)
    old = asyncio.create_task(follow(App(2), Site("a", Dataset("d"), tmp_path), Place(1, 2, 1, "6.0.0"), shown, LOST))
    with pytest.raises(RankLost):
        await leading.meet(App(2), tmp_path, Place(0, 2, 0, "7.0.0"), shown, HOST)
    assert await old == LOST


def test_places() -> None:
    assert place({}) == ALONE
    assert place({"SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}) == ALONE  # a batch script
    assert place(STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}) == ALONE
    assert place(STEP | {"SLURM_LOCALID": "3", "SLURMD_NODENAME": "n2"}) == Place(1, 2, 3, "7.0.0", "n2")
    assert place(STEP | {"SLURM_RESTART_COUNT": "2"}).attempt == "7.0.2"


@pytest.mark.parametrize("wrong", [{"SLURM_PROCID": "2"}, {"SLURM_PROCID": "x"}, {"SLURM_STEP_NUM_TASKS": "5000"}])
def test_places_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="SLURM_"):
        place(STEP | wrong)


@given(passed=st.lists(st.integers(0, 20), min_size=1, max_size=6), data=st.data())
def test_the_agreed_point_is_one_that_nobody_has_left_behind(passed: list[int], data: st.DataObject) -> None:
    every = [Points() for _ in passed]
    for points, times in zip(every, passed, strict=True):
        assert not any(points.stop_here() for _ in range(times))
    order = data.draw(st.permutations(every))
    limit = max([points.hold() for points in order])
    for points in order:
        points.go_on(limit)
    left = [sum(1 for _ in iter(points.stop_here, True)) for points in every]
    assert [a + b for a, b in zip(passed, left, strict=True)] == [max(passed)] * len(passed)
