"""What the scheduler has of one client, and what to do about it. Pure.

One Slurm job for each attempt, under a name of its own. Of a submission that was cut short nobody knows whether the job
exists: so its name is looked for, for a while, before there is another. A job that turns up all the same finds another
token than its own, and ends at once; and it is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from umbel_operator.agent import allowance
from umbel_operator.agent.backends.local import restarts
from umbel_operator.agent.backends.local.actions import Note
from umbel_operator.agent.backends.local.directory import Kept
from umbel_operator.agent.backends.local.holding import LocalHolding
from umbel_operator.agent.backends.local.records import Attempt
from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.options import Options
from umbel_operator.agent.batch.standing import Phase, Standing, lost, standing
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import Diagnosis, not_ready, ready
from umbel_operator.agent.lifecycle import FINISHED
from umbel_operator.agent.plan import Clocks, Draft
from umbel_operator.agent.site import Site, Slurm
from umbel_operator.names import short_hash

RUNNING, PENDING = "Running", "Pending"
SUBMITTING, PENDING_TIMEOUT = "Submitting", "PendingTimeout"
UNSEEN_SECONDS = 60.0  # so long a job that nobody has seen may still turn up
REFUSED_SECONDS = 300.0  # until the scheduler is asked once more for what it has refused
LOOK_SECONDS = 5.0
CANCEL_SECONDS = 60.0  # until it is asked again to end a job
# Ends that are nobody's fault: the next attempt waits no longer than the first.
INNOCENT = {"Preempted", "NodeFailed", "TimeLimit", "Stopped"}


@dataclass(frozen=True, slots=True)
class Submit:
    """Write the attempt down, then ask the scheduler for it."""

    folder: Path
    attempt: Attempt
    script: str
    options: Options


@dataclass(frozen=True, slots=True)
class Cancel:
    job: str


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the scheduler shows. ``history``: of jobs that have left the queue. ``mark``: in the comments of all that
    this agent submits."""

    queue: Sequence[BatchJob] = ()
    history: Mapping[str, BatchJob] = field(default_factory=dict)
    mark: str = ""

    def find(self, attempt: Attempt, silo: str) -> BatchJob | None:
        """By its name: that is known before the job is. What has left the queue has ended, whatever the accounting
        believes: of a controller that crashed it never heard of the end."""
        wanted = name(silo, attempt.token)
        known = (*self.queue, *(job for job in self.history.values() if standing(job).phase is Phase.ENDED))
        return next((job for job in known if job.name == wanted), None)

    def others(self, folder: Path, silo: str, tokens: Iterable[str]) -> list[BatchJob]:
        """Of this client, and not of these attempts."""
        names, comment = {name(silo, token) for token in tokens}, self.comment(folder)
        mine = (job for job in self.queue if job.comment == comment and job.name not in names)
        return [job for job in mine if standing(job).phase is not Phase.ENDED]

    def comment(self, folder: Path) -> str:
        return f"{self.mark} {folder.name}"


def name(silo: str, token: str) -> str:
    """Of an attempt's job: nobody else's is called so."""
    return f"umbel-{silo}-{token}"


class SlurmHolding(LocalHolding):
    def __init__(
        self,
        client: FederatedClient | None,
        site: Site,
        folders: Sequence[Kept],
        jobs: Jobs,
        home: Path | None,
        surroundings: Mapping[str, str],
        now: float,
        relay: str = "",
    ) -> None:
        super().__init__(client, site, folders, home, now)
        self._jobs = jobs
        self._relay = relay
        self._surroundings = surroundings

    @property
    def _slurm(self) -> Slurm:
        assert self._site.slurm is not None  # `site.check_backend` has seen to it
        return self._site.slurm

    @property
    def begun(self) -> float | None:
        """A start that is not written down yet counts: nobody may have looked for long."""
        own = self._own
        return super().begun or (self._beginning(own) if own is not None else None)

    @property
    def waits(self) -> bool:
        return False  # how long a job has been queued, the scheduler knows

    def run(self, wanted: bool, draft: Draft) -> None:
        own = self._own
        if own is None:
            return
        self._cancel_others(own, draft)
        self._note_beginning(own, draft)
        if not wanted:
            self._end(own, draft)
            return
        attempt = own.attempt
        server = self._client.server or (attempt.server if attempt else None)
        if server is None or own.report is not None:
            return  # nowhere to go, or the job has ended
        request = Request(self._client, self._site, self._slurm, server, own.folder, self._surroundings, self._relay)
        if attempt is not None and (attempt.stopping is not None or attempt.digest != request.digest()):
            if not self._end(own, draft):
                return
            attempt = None
        if attempt is None:
            self._submit(own, request, draft, 1, 0)
        else:
            self._go_on(own, attempt, request, draft)

    def diagnose(self, clocks: Clocks) -> Diagnosis:
        own = self._own
        if own is not None and own.report is not None:
            return not_ready(FINISHED, "the client has heard the end of the job")
        attempt = own.attempt if own is not None else None
        if attempt is None:
            return not_ready(PENDING, "the client is being submitted to the site's scheduler")
        if attempt.stopping is not None:
            return not_ready(PENDING, "the client is being stopped, and is started again as it is asked for now")
        if attempt.refused:
            return not_ready(attempt.refused, attempt.words)
        job = self._job(attempt)
        if job is None and not attempt.job:
            return not_ready(SUBMITTING, "the site's scheduler has not confirmed the job yet")
        found = standing(job) if job is not None else lost()
        if found.phase is Phase.QUEUED and job is not None:
            return self._queued(attempt, job, found)
        if found.phase is Phase.ENDED:
            return not_ready(found.reason, f"{found.message}; it is submitted again")
        if found.reason == RUNNING:
            return ready(RUNNING, "the client runs")
        return not_ready(found.reason, found.message)

    # ---- pieces

    def _go_on(self, own: Kept, attempt: Attempt, request: Request, draft: Draft) -> None:
        """``attempt`` is to run, and is what is asked for. Behind a relay a server may move without a new one."""
        if attempt.server != request.server:
            attempt = replace(attempt, server=request.server)
            draft.actions.append(Note(own.folder, attempt))
        if attempt.refused:
            self._submit_at(attempt.started + REFUSED_SECONDS, own, request, draft, attempt, attempt.failures + 1)
            return
        job = self._job(attempt)
        if job is None and not attempt.job:
            due = attempt.started + UNSEEN_SECONDS
            draft.look_again(LOOK_SECONDS)
            self._submit_at(due, own, request, draft, attempt, attempt.failures)
            return
        if job is not None and attempt.job != job.id:
            attempt = replace(attempt, job=job.id)
            draft.actions.append(Note(own.folder, attempt))
        found = standing(job) if job is not None else lost()
        if job is not None and found.hopeless:
            given_up = replace(attempt, started=self._now, refused=found.reason, words=found.message)
            draft.actions.append(Note(own.folder, given_up))
            draft.actions.append(Cancel(job.id))
            draft.look_again(REFUSED_SECONDS)
        elif found.phase is Phase.ENDED:
            again = self._again(attempt, job, found)
            self._submit_at(again.at, own, request, draft, attempt, again.failures)

    def _again(self, attempt: Attempt, job: BatchJob | None, found: Standing) -> restarts.Again:
        if job is None:  # nobody knows since when; a queue that was read wrongly is read again first
            return restarts.again(attempt, None, attempt.started + UNSEEN_SECONDS)
        ended = job.ended if job.ended is not None else self._now
        if found.reason in INNOCENT:
            return restarts.Again(ended, attempt.failures)
        lived = replace(attempt, started=job.started) if job.started is not None else attempt
        return restarts.again(lived, job.exit_code, ended)

    def _submit_at(self, due: float, own: Kept, request: Request, draft: Draft, before: Attempt, failures: int) -> None:
        if due > self._now:
            draft.look_again(due - self._now)
        else:
            self._submit(own, request, draft, before.number + 1, failures)

    def _submit(self, own: Kept, request: Request, draft: Draft, number: int, failures: int) -> None:
        token = f"{short_hash(self._client.job.uid, self._client.name, repr(self._now))}-{number}"
        attempt = Attempt(token, number, self._now, request.server, request.digest(), failures)
        left = allowance.left(self._site.policy, self.begun, self._now)
        options = request.options(name(self._client.silo, token), self._jobs.comment(own.folder), left)
        draft.actions.append(Submit(own.folder, attempt, request.script(token), options))
        draft.look_again(0.0)

    def _note_beginning(self, own: Kept, draft: Draft) -> None:
        if (at := self._beginning(own)) is not None:
            self._begin(own, at, draft)

    def _beginning(self, own: Kept) -> float | None:
        """Of the attempt at hand. Time in the queue does not count before the first start. A job that nobody saw may
        have run since it was submitted."""
        attempt = own.attempt
        job = self._job(attempt) if attempt is not None else None
        if attempt is None or (job is None and not attempt.job):
            return None
        if job is None:
            return attempt.started
        if job.started is None or standing(job).phase is Phase.QUEUED:
            return None
        return min(job.started, self._now)

    def _queued(self, attempt: Attempt, job: BatchJob, found: Standing) -> Diagnosis:
        since = job.submitted if job.submitted is not None else attempt.started
        left = since + self._slurm.pending_timeout_seconds - self._now
        if left > 0:
            return not_ready(found.reason, found.message, left)
        hours = self._slurm.pending_timeout_seconds / 3600
        return not_ready(PENDING_TIMEOUT, f"{found.message}, for more than {hours:g} hours")

    def _job(self, attempt: Attempt) -> BatchJob | None:
        return self._jobs.find(attempt, self._site.silo)

    def _alive(self, kept: Kept) -> bool:
        """A job that was asked for, and that nobody has seen yet, may be there."""
        attempt = kept.attempt
        if attempt is None:
            return bool(self._jobs.others(kept.folder, self._site.silo, ()))
        job = self._job(attempt)
        if job is not None:
            return standing(job).phase is not Phase.ENDED
        unseen = not attempt.job and not attempt.refused and self._now - attempt.started < UNSEEN_SECONDS
        return unseen or bool(self._jobs.others(kept.folder, self._site.silo, ()))

    def _end(self, kept: Kept, draft: Draft) -> bool:
        attempt = kept.attempt
        self._cancel_others(kept, draft)
        self._note_beginning(kept, draft)  # or it would be forgotten with the attempt
        if attempt is None:
            return not self._alive(kept)
        if not self._alive(kept):
            draft.actions.append(Note(kept.folder, None))
            return True
        draft.look_again(LOOK_SECONDS)
        again = attempt.stopping is None or self._now - attempt.stopping > CANCEL_SECONDS
        job = self._job(attempt)
        if again:
            draft.actions.append(Note(kept.folder, replace(attempt, stopping=self._now)))
        if job is not None and (again or not attempt.job):
            draft.actions.append(Cancel(job.id))
        return False

    def _cancel_others(self, kept: Kept, draft: Draft) -> None:
        """What a submission that was taken for failed has made all the same."""
        tokens = (kept.attempt.token,) if kept.attempt is not None else ()
        others = self._jobs.others(kept.folder, self._site.silo, tokens)
        draft.actions += [Cancel(job.id) for job in others]
        if others:
            draft.look_again(LOOK_SECONDS)
