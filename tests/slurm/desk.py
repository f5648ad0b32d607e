"""A user of a site: submits jobs by the agent's adapter, watches them, and leaves none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from umbel_slurm.processes import PATH
from umbel_slurm.site import CONTROLLER, Site

from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.options import Options
from umbel_operator.agent.batch.slurm import Slurm
from umbel_operator.agent.batch.standing import Phase, Standing, standing

PATIENCE = 240.0


class Desk:
    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.environment = {**os.environ, **site.environment, "PATH": PATH, "UMBEL_TEST_SECRET": "of the agent"}
        self.slurm = Slurm(self.environment)
        self.submitted: list[str] = []

    @classmethod
    @contextlib.contextmanager
    def at(cls, site: Site, folder: Path) -> Iterator[Desk]:
        desk = cls(site, folder)
        try:
            yield desk
        finally:
            desk.leave()

    def leave(self) -> None:
        """The next test finds the site as this one did."""
        for name in (CONTROLLER, *self.site.nodes):
            self.site.start_daemon(name)
        for job in self.site.run("squeue", "--me", "--noheader", "--format=%A").split():
            self.site.run("scancel", "--quiet", job)
        for node in self.site.nodes:
            with contextlib.suppress(Exception):  # one that is idle cannot be resumed
                self.site.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.site.await_nodes(*self.site.nodes)

    def options(self, name: str = "umbel-test", **wishes: Any) -> Options:
        defaults = {"time_seconds": 600, "comment": "umbel silo=test"}
        return Options(name=name, folder=self.folder, output=self.folder / "output", **(defaults | wishes))

    async def submit(self, command: Sequence[str | Path], name: str = "umbel-test", **wishes: Any) -> str:
        """As the agent does it: the batch script becomes `srun`, which passes signals on."""
        options = self.options(name, **wishes)
        line = shlex.join(["srun", "--export=ALL", f"--ntasks={options.tasks}", *map(str, command)])
        job = await self.slurm.submit(f"#!/bin/sh\nexec {line}\n", options)
        self.submitted.append(job)
        return job

    async def job(self, id: str) -> BatchJob:
        (found,) = (job for job in await self.slurm.queue() if job.id == id)
        return found

    async def until(self, id: str, happened: Callable[[BatchJob, Standing], bool]) -> tuple[BatchJob, Standing]:
        end = time.monotonic() + PATIENCE
        while True:
            job = await self.job(id)
            if happened(job, standing(job)):
                return job, standing(job)
            assert time.monotonic() < end, f"waited {PATIENCE:g} s, and still {job}\n{self.said()}"
            await asyncio.sleep(0.2)

    async def until_phase(self, id: str, phase: Phase) -> tuple[BatchJob, Standing]:
        return await self.until(id, lambda _, found: found.phase is phase)

    def said(self) -> str:
        path = self.folder / "output"
        return path.read_text() if path.exists() else ""

    async def until_said(self, what: str, times: int = 1) -> None:
        end = time.monotonic() + PATIENCE
        while self.said().count(what) < times:
            assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what!r}:\n{self.said()}"
            await asyncio.sleep(0.1)


def heeding(seconds: float = 0, code: int = 75) -> list[str]:
    """A command that runs until it is told to end, says so, and does."""
    script = f"trap 'echo told to end; sleep {seconds}; exit {code}' TERM; echo up; while :; do sleep 0.1; done"
    return ["sh", "-c", script]


def heedless() -> list[str]:
    return ["sh", "-c", "trap 'echo told to end' TERM; echo up; while :; do sleep 0.1; done"]
