"""What the agent asks of a batch scheduler, in any site."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from umbel_operator.agent.batch.options import Options


class BatchError(Exception):
    """The scheduler did not do as it was told; the message is for the silo's administrator."""


class Unavailable(BatchError):
    """It was not heard, or could not answer: nothing is known, and it may be asked again."""


class OutcomeUnknown(Unavailable):
    """A submission was cut short: the job may exist. Look for its name in `queue` before it is submitted again."""


class Rejected(BatchError):
    """It was heard, and refused: asking again is no use."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One job as the scheduler shows it now.

    ``state`` and ``reason`` are the scheduler's words (`standing` says what they mean). Times are seconds since the
    epoch. ``exit_code`` and ``signal`` are of the batch script, None while there is none. ``restarts``: how often it
    was requeued, as the queue has it; a job keeps its id then.
    """

    id: str
    state: str
    name: str
    comment: str = ""
    reason: str = ""
    nodes: tuple[str, ...] = ()
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    restarts: int = 0


class BatchScheduler(Protocol):
    """Every method raises Unavailable or Rejected, within a time limit of its own."""

    async def submit(self, script: str, options: Options) -> str:
        """The new job's id. Of this process' environment the script gets what the scheduler's commands need, and no
        more. Raises OutcomeUnknown too."""
        ...

    async def queue(self) -> Sequence[BatchJob]:
        """This user's jobs, with those that ended a little while ago; after a few minutes the scheduler forgets them
        (Slurm: MinJobAge), and only `history` may know."""
        ...

    async def history(self, ids: Collection[str]) -> Mapping[str, BatchJob]:
        """What the accounting knows of them; nothing where there is none."""
        ...

    async def cancel(self, id: str, signal: str = "") -> None:
        """End a job, queued or running, as the scheduler ends jobs: TERM, and KILL after its KillWait. With
        ``signal`` (as in ``TERM``) only send that to its steps. One that has ended already is no error."""
        ...
