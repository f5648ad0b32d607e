"""Slurm by its commands. Its REST service is rarely offered, and its library changes with every version."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

from umbel_operator.agent.batch import commands, output
from umbel_operator.agent.batch.base import BatchJob, OutcomeUnknown, Rejected, Unavailable
from umbel_operator.agent.batch.commands import Done, NotInstalled, TimedOut
from umbel_operator.agent.batch.options import Options
from umbel_operator.agent.batch.refusals import explained, is_temporary, may_have_arrived

COMMAND_SECONDS = 30.0  # a controller that is down takes nine of them to be noticed
ID = re.compile(r"[0-9]{1,10}\Z")


class Slurm:
    """``environment``: the agent's own, of which the commands get what they need."""

    def __init__(self, environment: Mapping[str, str] | None = None, seconds: float = COMMAND_SECONDS) -> None:
        given = os.environ if environment is None else environment
        self._environment, self._inherited = commands.scrubbed(given), commands.inherited(given)
        self._seconds = seconds

    async def submit(self, script: str, options: Options) -> str:
        try:
            arguments = options.arguments()
        except ValueError as error:
            raise Rejected(str(error)) from None
        try:
            done = await self._run(["sbatch", "--parsable", *arguments], script, self._inherited)
        except TimedOut:
            raise OutcomeUnknown(f"sbatch did not end within {self._seconds:g} s; the job may exist") from None
        if done.code == 0:
            try:
                return output.submitted(done.out)
            except output.NotUnderstood as error:
                raise OutcomeUnknown(f"{error}; the job may exist") from None
        if may_have_arrived(done.err):
            raise OutcomeUnknown(f"{explained(done.err)}; the job may exist")
        raise _fault(done)

    async def queue(self) -> Sequence[BatchJob]:
        arguments = ["squeue", "--me", "--noheader", "--states=all", f"--Format={output.QUEUE_FORMAT}"]
        done = await self._answer(arguments)
        if done.code:
            raise _fault(done)
        try:
            return output.queue(done.out)
        except output.NotUnderstood as error:
            raise Unavailable(str(error)) from None

    async def history(self, ids: Collection[str]) -> Mapping[str, BatchJob]:
        """Empty where the site has no accounting, or has not installed its command."""
        if not ids:
            return {}
        asked = ",".join(map(_id, ids))
        arguments = ["sacct", "--noheader", "--allocations", "--parsable2", f"--delimiter={output.FIELD}"]
        try:
            done = await self._run([*arguments, f"--format={output.HISTORY_FORMAT}", f"--jobs={asked}"])
        except TimedOut:
            raise Unavailable(f"sacct did not end within {self._seconds:g} s") from None
        except _Missing:
            return {}
        if done.code and "accounting storage is disabled" in done.err:
            return {}
        if done.code:
            raise _fault(done)
        try:
            return {job.id: job for job in output.history(done.out)}
        except output.NotUnderstood as error:
            raise Unavailable(str(error)) from None

    async def cancel(self, id: str, signal: str = "") -> None:
        if signal and not signal.isalnum():
            raise Rejected(f"{signal!r} is not a signal; write it like TERM")
        done = await self._answer(["scancel", *([f"--signal={signal}"] if signal else []), _id(id)])
        if done.code and not re.search(r"Invalid job id|already complet", done.err):
            raise _fault(done)

    # ---- pieces

    async def _answer(self, argv: list[str]) -> Done:
        try:
            return await self._run(argv)
        except TimedOut:
            raise Unavailable(f"{argv[0]} did not end within {self._seconds:g} s") from None

    async def _run(self, argv: list[str], input: str = "", environment: Mapping[str, str] | None = None) -> Done:
        own = self._environment if environment is None else environment
        try:
            return await commands.run(argv, environment=own, input=input, seconds=self._seconds)
        except NotInstalled as error:
            raise _Missing(f"{error} cannot be run; put Slurm's commands on the agent's PATH") from None


class _Missing(Unavailable):
    """Whoever installs it makes it pass."""


def _id(id: str) -> str:
    if not ID.match(id):
        raise Rejected(f"{id!r} is not a job's id")
    return id


def _fault(done: Done) -> Unavailable | Rejected:
    words = explained(done.err or done.out)
    return Unavailable(words) if is_temporary(done.err) else Rejected(words)
