"""Four members that speak by hand, a round of theirs, and what has to hold when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from umbel.wire import umbel_pb2 as pb

from .deployment import Deployment, eventually
from .oracle import assert_is_the_mean
from .speaking import Flat, Member, dial, update_of, upload_frames

SILOS = ("silo-1", "silo-2", "silo-3", "silo-4")
LATECOMER = "silo-5"  # a member that is not there when rounds open
MALLORY = "silo-4"  # the one whose transfers go wrong
REJECTED = "fl_client_updates_rejected_total{reason=%s}"


class Cohort:
    """``task``: of the open round. ``accepted``: what the server said it would count."""

    def __init__(self, server: Deployment, members: dict[str, Member]) -> None:
        self.server = server
        self.members = members
        self.mallory = members[MALLORY]
        self.task = pb.Task()
        self.before: Flat
        self.accepted: dict[str, Flat] = {}
        self.baseline: dict[str, float] = {}
        self.settled = True
        self._opened: list[pb.Task] = []

    async def begin(self) -> None:
        """Take up the round that is open."""
        tasks = self._opened or await asyncio.gather(*(m.task() for m in self.members.values()))
        assert len({(t.epoch, t.round, t.attempt) for t in tasks}) == 1
        self.task, self.settled = tasks[0], False
        self.accepted = {}
        self.before = await self.mallory.model(self.task.model_version)
        self.baseline = await self._released(self.task.round - 1)

    async def _released(self, round: int) -> dict[str, float]:
        """Metrics after the release of a round."""

        def read() -> dict[str, float]:
            found = self.server.metrics()
            return found if found["fl_rounds_total{outcome=committed}"] >= round else {}

        return await eventually(read, f"the release of round {round}")

    def update(self, silo: str) -> Flat:
        return update_of(self.members[silo].up, seed=1000 * self.task.round + int(silo[-1]))

    def good_frames(self, silo: str) -> list[bytes]:
        member = self.members[silo]
        return upload_frames(member.header(self.task), self.update(silo).tobytes())

    async def send(self, silo: str) -> None:
        """A correct update; it has to be accepted."""
        ack = await self.members[silo].put(self.good_frames(silo))
        assert ack.code == pb.ACCEPTED, ack
        self.accepted[silo] = self.update(silo)

    async def settle(self, silos: Sequence[str] = SILOS[:3]) -> dict[str, float]:
        """``silos`` send theirs, and the round has to commit to exactly what was accepted. Returns how much each metric
        moved by its release."""
        round = self.task.round
        for silo in silos:
            await self.send(silo)
        self._opened = await asyncio.gather(*(m.task(after=round) for m in self.members.values()))
        assert {t.round for t in self._opened} == {round + 1}
        after = await self.mallory.model(round)
        counted = [(flat, self.members[silo].examples) for silo, flat in self.accepted.items()]
        assert_is_the_mean(self.mallory.down, self.mallory.up, self.before, after, counted)
        released = await self._released(round)
        self.settled = True
        moved = {name: value - self.baseline.get(name, 0.0) for name, value in released.items()}
        assert moved["fl_rounds_total{outcome=committed}"] == 1
        assert moved["fl_rounds_total{outcome=abandoned}"] == 0
        assert moved["fl_client_updates_total{outcome=full}"] == len(self.accepted)
        return moved

    async def give_up(self) -> None:
        """A test that failed leaves its round half done: end it, or the next test finds it so."""
        if not self.settled:
            for member in self.members.values():
                await member.decline(self.task)
            ended = ("fl_rounds_total{outcome=committed}", "fl_rounds_total{outcome=abandoned}")
            before = sum(self.baseline[name] for name in ended)
            await eventually(lambda: sum(self.server.metrics()[name] for name in ended) > before, "the round's end")

    def rejections(self, moved: dict[str, float]) -> dict[str, float]:
        """Of what `settle` returned: refused updates by reason."""
        prefix, suffix = REJECTED.split("%s")
        return {k.removeprefix(prefix).removesuffix(suffix): v for k, v in moved.items() if k.startswith(prefix) and v}


@asynccontextmanager
async def gathered(server: Deployment, silos: Sequence[str] = SILOS) -> AsyncIterator[Cohort]:
    """Everybody joined, and a round open."""
    await eventually(lambda: server.metrics()["fl_silos{state=connected}"] == 0, "earlier members to be gone")
    async with AsyncExitStack() as stack:
        members = {}
        for number, silo in enumerate(silos, 1):
            member = Member(silo, dial(server.address, server.credentials(silo)))
            members[silo] = await stack.enter_async_context(member)
            await member.join(10 * number)
        cohort = Cohort(server, members)
        await cohort.begin()
        try:
            yield cohort
        finally:
            await cohort.give_up()
