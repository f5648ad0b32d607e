"""The adapter over commands that are scripts of the test: what no real Slurm can be made to do, or not quickly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from umbel_operator.agent.batch.base import OutcomeUnknown, Rejected, Unavailable
from umbel_operator.agent.batch.options import Options
from umbel_operator.agent.batch.output import FIELD
from umbel_operator.agent.batch.slurm import Slurm

Program = Callable[[str, str], None]
PATH = os.environ["PATH"]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def write(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    surroundings = {"SBATCH_PARTITION": "hi", "SLURM_JOB_ID": "7", "SECRET": "x", "SLURM_CONF": "/etc/own.conf"}
    return Slurm({**surroundings, "PATH": f"{tmp_path}:{PATH}"}, seconds=30)


def options(tmp_path: Path) -> Options:
    return Options("umbel-a", tmp_path, tmp_path / "out", 60)


async def test_commands_see_nothing_that_would_become_an_option(slurm: Slurm, program: Program, tmp_path: Path) -> None:
    program("sbatch", f"env >{tmp_path}/env; cat >{tmp_path}/script; echo 12")
    assert await slurm.submit("#!/bin/sh\ntrue\n", options(tmp_path)) == "12"
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "SLURM_CONF"}, "the job will have them too"
    assert (tmp_path / "script").read_text() == "#!/bin/sh\ntrue\n"


async def test_commands_speak_as_they_are_understood(slurm: Slurm, program: Program, tmp_path: Path) -> None:
    program("squeue", f"env >{tmp_path}/env")
    assert await slurm.queue() == []
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "SLURM_CONF", "LC_ALL", "SLURM_TIME_FORMAT"}


async def test_an_sbatch_that_prints_something_else_may_have_submitted(
    slurm: Slurm, program: Program, tmp_path: Path
) -> None:
    program("sbatch", "echo welcome to the cluster")
    with pytest.raises(OutcomeUnknown, match="welcome to the cluster"):
        await slurm.submit("", options(tmp_path))


async def test_an_answer_that_got_lost_may_have_been_yes(slurm: Slurm, program: Program, tmp_path: Path) -> None:
    program("sbatch", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1")
    with pytest.raises(OutcomeUnknown, match="may exist"):
        await slurm.submit("", options(tmp_path))


async def test_a_queue_that_is_not_understood_is_not_an_empty_one(slurm: Slurm, program: Program) -> None:
    program("squeue", "echo 'squeue: news of the day'")
    with pytest.raises(Unavailable, match="news of the day"):
        await slurm.queue()


async def test_what_the_accounting_knows(slurm: Slurm, program: Program) -> None:
    line = FIELD.join(("9", "TIMEOUT", "None", "0:0", "1", "2", "3", "n1", "umbel-a", "umbel"))
    program("sacct", f"printf '%s\\n' '{line}'")
    found = await slurm.history(["9", "10"])
    assert {id: (job.state, job.name) for id, job in found.items()} == {"9": ("TIMEOUT", "umbel-a")}
    assert await slurm.history([]) == {}


def ended(pid: Path) -> bool:
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


async def test_a_command_that_hangs_is_ended_with_what_it_started(program: Program, tmp_path: Path) -> None:
    program("scancel", f"sleep 1000 & echo $! >{tmp_path}/child; wait")
    with pytest.raises(Unavailable, match="scancel did not end within 5 s"):
        await Slurm({"PATH": f"{tmp_path}:{PATH}"}, seconds=5).cancel("1")
    async with asyncio.timeout(30):
        while not ended(tmp_path / "child"):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("id", "signal"), [("1; reboot", ""), ("--me", ""), ("", ""), ("1", "TERM --me")])
async def test_what_is_no_id_and_no_signal(slurm: Slurm, id: str, signal: str) -> None:
    with pytest.raises(Rejected, match="is not a"):
        await slurm.cancel(id, signal)
