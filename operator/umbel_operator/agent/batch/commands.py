"""A command of the scheduler: never without a time limit, and with an environment that has nothing of the agent's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What a scheduler's commands need to find its configuration, its libraries and the user. SLURM_* and SBATCH_* of the
# agent's own surroundings would turn into options of the jobs.
KEPT = ("HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "TZ", "USER")
FIXED = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"}


class TimedOut(Exception):
    """It was killed, with all that it had started."""


class NotInstalled(Exception):
    """There is no such program on the PATH."""


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    return inherited(environment) | FIXED


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a job has of it too."""
    return {name: environment[name] for name in KEPT if name in environment}


async def run(argv: Sequence[str], *, environment: Mapping[str, str], input: str = "", seconds: float) -> Done:
    """Raises TimedOut or NotInstalled. The command does not outlive a caller that is cancelled either."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NotInstalled(argv[0]) from None
    except OSError as error:
        raise NotInstalled(f"{argv[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(input.encode())
    except TimeoutError:
        raise TimedOut(argv[0]) from None
    finally:
        await _end(process)
    assert process.returncode is not None, "communicate waits for its end"
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of its session is left, so that its pipes are closed too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await asyncio.shield(process.wait())
