"""What is seen and done at the scheduler."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from umbel_operator import logs
from umbel_operator.agent.backends.base import Trouble
from umbel_operator.agent.backends.local import actions
from umbel_operator.agent.backends.local.directory import LOG, Kept, StateDirectory, bound_log
from umbel_operator.agent.backends.local.records import Owner
from umbel_operator.agent.backends.local.trouble import told
from umbel_operator.agent.backends.slurm.holding import Cancel, Jobs, SlurmHolding, Submit
from umbel_operator.agent.batch.base import BatchJob, BatchScheduler, OutcomeUnknown, Rejected, Unavailable
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Plan
from umbel_operator.agent.site import Site
from umbel_operator.names import short_hash

POLL_SECONDS = 5.0
FRESH_SECONDS = 2.0  # the queue as seen by one client's pass serves the next one's
OUTAGE_SECONDS = 120.0  # a controller that is being restarted is no news for the hub
UNREACHABLE, REJECTED = "SchedulerUnreachable", "SubmissionRefused"
REJECTED_WORDS = "the site's scheduler refuses the job; the agent's log says why"


class SlurmBackend:
    """``directory`` is held by this agent, and lies where the compute nodes see it. ``relay``: HOST:PORT of the agent's
    own, "" where nodes have a route to the servers."""

    name = "slurm"

    def __init__(
        self,
        directory: StateDirectory,
        scheduler: BatchScheduler,
        surroundings: Mapping[str, str] | None = None,
        relay: str = "",
    ) -> None:
        self._relay = relay
        self._directory = directory
        self._scheduler = scheduler
        self._surroundings = os.environ if surroundings is None else surroundings
        self._mark = f"umbel {short_hash(str(directory.path))}"
        self._turn = asyncio.Lock()
        self._queue: tuple[float, list[BatchJob]] | None = None

    async def observe(self, name: str, client: FederatedClient | None, site: Site) -> SlurmHolding:
        folders = await asyncio.to_thread(self._of, name)
        jobs = await self._jobs(folders)
        home = self._directory.folder(Owner.of(client)) if client is not None else None
        return SlurmHolding(client, site, folders, jobs, home, self._surroundings, time.time(), self._relay)

    async def execute(self, plan: Plan) -> None:
        for action in plan.actions:
            match action:
                case Submit():
                    await self._submit(action)
                case Cancel(job):
                    await self._cancel(job)
                case _:
                    await asyncio.to_thread(self._do, action)

    async def known(self) -> set[str]:
        found = await asyncio.to_thread(self._all)
        return {kept.owner.client for kept in found if not kept.owner.retained}

    async def watch(self, changed: Callable[[str], None]) -> None:
        before: dict[str, object] = {}
        while True:
            try:
                now = await self._signs()
            except Trouble:
                now = before  # what was not heard is no news; the workers' own passes say so
            for name in now.keys() | before.keys():
                if now.get(name) != before.get(name):
                    changed(name)
            before = now
            await asyncio.sleep(POLL_SECONDS)

    # ---- the scheduler, one command at a time: what is seen is never older than what was done

    async def _jobs(self, folders: tuple[Kept, ...]) -> Jobs:
        async with self._turn:
            queue = await self._listed()
            listed = {job.id for job in queue}
            gone = {kept.attempt.job for kept in folders if kept.attempt is not None and kept.attempt.job} - listed
            history = await self._history(gone)
        return Jobs(queue, history, self._mark)

    async def _history(self, gone: Collection[str]) -> Mapping[str, BatchJob]:
        """The queue has answered that they are over: only how they ended is unknown while the accounting is away."""
        try:
            return await self._scheduler.history(gone) if gone else {}
        except (Unavailable, Rejected) as error:
            logs.warning("the accounting does not say how a job ended", error=str(error))
            return {}

    async def _listed(self) -> list[BatchJob]:
        now = time.monotonic()
        if self._queue is None or now - self._queue[0] > FRESH_SECONDS:
            try:
                self._queue = now, list(await self._scheduler.queue())
            except (Unavailable, Rejected) as error:
                raise _trouble(error) from None
        return self._queue[1]

    async def _submit(self, action: Submit) -> None:
        """Written down before it is asked for: an agent that dies between the two knows what to look for."""
        folder, attempt = action.folder, action.attempt
        await asyncio.to_thread(self._do, actions.Note(folder, attempt))
        async with self._turn:
            self._queue = None
            try:
                job = await self._scheduler.submit(action.script, action.options)
            except OutcomeUnknown as error:
                logs.warning("nobody knows whether a job was submitted", name=action.options.name, error=str(error))
                return
            except Unavailable as error:
                raise _trouble(error) from None
            except Rejected as error:
                logs.error("the scheduler refuses a job", name=action.options.name, error=str(error))
                attempt = replace(attempt, refused=REJECTED, words=REJECTED_WORDS)
            else:
                logs.info("submitted a job", name=action.options.name)
                attempt = replace(attempt, job=job)
        await asyncio.to_thread(self._do, actions.Note(folder, attempt))

    async def _cancel(self, job: str) -> None:
        async with self._turn:
            self._queue = None
            try:
                await self._scheduler.cancel(job)
            except (Unavailable, Rejected) as error:
                raise _trouble(error) from None
        logs.info("cancelled a job", name=job)

    async def _signs(self) -> dict[str, object]:
        """Of each client what changes when something happens to it."""
        folders = await asyncio.to_thread(self._all)
        if not any(kept.attempt for kept in folders):
            return {kept.owner.client: kept.report for kept in folders}
        async with self._turn:
            queue = await self._listed()
        mark = Jobs(mark=self._mark)
        found: dict[str, object] = {}
        for kept in folders:
            comment = mark.comment(kept.folder)
            seen = [(job.id, job.state, job.reason, job.restarts) for job in queue if job.comment == comment]
            found[kept.owner.client] = (found.get(kept.owner.client), kept.report, seen)
        return found

    # ---- what runs in threads

    def _of(self, name: str) -> tuple[Kept, ...]:
        with told():
            return self._directory.of(name)

    def _all(self) -> list[Kept]:
        with told():
            found = self._directory.all()
            for kept in found:
                bound_log(kept.folder / LOG)
            return found

    def _do(self, action: object) -> None:
        with told():
            actions.do(action)


def _trouble(error: Unavailable | Rejected) -> Trouble:
    logs.warning("the scheduler did not do as it was told", error=str(error))
    words = "the site's scheduler does not answer its agent; what is queued or runs goes on"
    return Trouble(UNREACHABLE, words, temporary=True, patience=OUTAGE_SECONDS)
