"""Every fault that a site has in store, provoked: each ends in the right state, with a reason that a person
understands."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from umbel_slurm.processes import is_alive, kill, until
from umbel_slurm.site import CONTROLLER, Site

from umbel_operator.agent.batch.base import OutcomeUnknown, Rejected, Unavailable
from umbel_operator.agent.batch.commands import KEPT
from umbel_operator.agent.batch.slurm import Slurm
from umbel_operator.agent.batch.standing import Phase

from .desk import Desk, heeding, heedless

pytestmark = pytest.mark.slurm


async def test_a_job_that_ends_by_itself_and_gets_nothing_of_the_agents(desk: Desk) -> None:
    id = await desk.submit(["sh", "-c", "echo $UMBEL_TEST_SECRET.; pwd"], comment="umbel silo=a job=b/c")
    job, found = await desk.until_phase(id, Phase.ENDED)
    assert (found.reason, job.exit_code, job.signal) == ("Completed", 0, 0)
    assert (job.name, job.comment, job.nodes) == ("umbel-test", "umbel silo=a job=b/c", ("n1",))
    assert job.submitted <= job.started <= job.ended  # type: ignore[operator]
    assert desk.said() == f".\n{desk.folder}\n"


async def test_a_jobs_environment_is_slurms_and_what_its_commands_need(desk: Desk) -> None:
    """No login shell of the user's is run for it, which takes as long as it likes."""
    id = await desk.submit(["env", "-0"])
    await desk.until_phase(id, Phase.ENDED)
    names = {entry.partition("=")[0] for entry in desk.said().split("\0") if entry}
    slurms = {name for name in names if name.startswith(("SLURM", "SRUN_"))}
    assert names - slurms <= {*KEPT, "ENVIRONMENT", "HOSTNAME", "PWD", "TMPDIR"}


async def test_the_two_sites_know_nothing_of_one_another(desk: Desk, large: Site) -> None:
    await desk.submit(["true"])
    other = Slurm({**desk.environment, **large.environment})
    assert not [job for job in await other.queue() if job.name == "umbel-only-here"]
    id = await desk.submit(["true"], name="umbel-only-here")
    assert [job.id for job in await desk.slurm.queue() if job.name == "umbel-only-here"] == [id]
    assert not [job for job in await other.queue() if job.name == "umbel-only-here"]


async def test_cancelled(desk: Desk) -> None:
    id = await desk.submit(heeding())
    await desk.until_said("up")
    await desk.slurm.cancel(id)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Cancelled"
    assert "told to end" in desk.said()
    await desk.slurm.cancel(id)  # once more is no error
    await desk.slurm.cancel("999999")


async def test_cancelled_in_the_queue(desk: Desk) -> None:
    desk.site.run("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")
    id = await desk.submit(["true"])
    await desk.slurm.cancel(id)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Cancelled"


async def test_a_signal_alone_lets_the_client_say_how_it_ended(desk: Desk) -> None:
    id = await desk.submit(heeding())
    await desk.until_said("up")
    await desk.slurm.cancel(id, "TERM")
    job, found = await desk.until_phase(id, Phase.ENDED)
    assert (found.reason, job.exit_code) == ("Stopped", 75)


@pytest.mark.parametrize(("code", "reason"), [(1, "Failed"), (2, "Refused")])
async def test_a_client_that_ends_by_itself_says_by_its_exit_code_why(desk: Desk, code: int, reason: str) -> None:
    id = await desk.submit(["sh", "-c", f"exit {code}"])
    job, found = await desk.until_phase(id, Phase.ENDED)
    assert (found.reason, job.exit_code) == (reason, code)


def called(name: str, pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n"]


async def test_one_that_somebody_kills(desk: Desk) -> None:
    id = await desk.submit(heeding())
    await desk.until_said("up")
    kill(called("srun", desk.site.processes(id)))
    job, found = await desk.until_phase(id, Phase.ENDED)
    assert (found.reason, job.signal) == ("Killed", signal.SIGKILL)


async def test_one_that_does_not_heed_is_killed(desk: Desk) -> None:
    id = await desk.submit(heedless())
    await desk.until_said("up")
    here = desk.site.processes(id)
    assert here
    await desk.slurm.cancel(id)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Cancelled"
    assert "told to end" in desk.said()
    assert not any(is_alive(pid) for pid in here)


async def test_preempted(desk: Desk) -> None:
    """TERM comes when the grace begins; the agent, not Slurm, submits again."""
    id = await desk.submit(heeding(seconds=1), site={"partition": "fl"}, cpus_per_task=4)
    await desk.until_said("up")
    winner = await desk.submit(["true"], name="umbel-hi", site={"partition": "hi"}, cpus_per_task=4)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason in {"Preempted", "Stopped"}
    assert "told to end" in desk.said()
    _, found = await desk.until_phase(winner, Phase.ENDED)
    assert found.reason == "Completed"


async def test_preempted_without_heeding(desk: Desk) -> None:
    id = await desk.submit(heedless(), site={"partition": "spare"}, cpus_per_task=4)
    await desk.until_said("up")
    await desk.submit(["true"], name="umbel-hi", site={"partition": "hi"}, cpus_per_task=4)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Preempted"
    assert "told to end" in desk.said()


async def test_requeued_by_an_administrator(desk: Desk) -> None:
    """The same id runs again: the agent sees one job, started once more."""
    id = await desk.submit(heeding())
    await desk.until_said("up")
    desk.site.run("scontrol", "update", f"JobId={id}", "Requeue=1")
    desk.site.run("scontrol", "requeue", id)
    await desk.until(id, lambda job, found: job.restarts == 1 and found.phase is Phase.QUEUED)
    job, _ = await desk.until_phase(id, Phase.RUNNING)
    await desk.until_said("up", times=2)
    assert (job.id, job.restarts) == (id, 1)


async def test_a_node_fails(desk: Desk) -> None:
    id = await desk.submit(heeding())
    await desk.until_said("up")
    desk.site.lose_node("n1")
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "NodeFailed"


async def test_the_time_limit(desk: Desk) -> None:
    id = await desk.submit(heedless(), time_seconds=60, term_seconds=30)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "TimeLimit"
    assert "told to end" in desk.said()


async def test_a_drained_node_is_waited_for(desk: Desk) -> None:
    desk.site.run("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=disk")
    id = await desk.submit(["true"])
    _, found = await desk.until(id, lambda _, found: found.reason == "NodesUnavailable")
    assert (found.phase, found.hopeless) == (Phase.QUEUED, False)
    assert "drained" in found.message
    desk.site.run("scontrol", "update", "NodeName=n1", "State=RESUME")
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Completed"


async def test_a_partition_that_is_closed_and_a_job_that_is_held_are_waited_for(desk: Desk) -> None:
    desk.site.run("scontrol", "update", "PartitionName=fl", "State=DOWN")
    try:
        id = await desk.submit(["true"])
        _, found = await desk.until(id, lambda _, found: found.reason == "PartitionDown")
        assert (found.phase, found.hopeless) == (Phase.QUEUED, False)
        desk.site.run("scontrol", "hold", id)
        _, found = await desk.until(id, lambda _, found: found.reason == "Held")
        assert (found.phase, found.hopeless) == (Phase.QUEUED, False)
        desk.site.run("scontrol", "release", id)
        await desk.until(id, lambda _, found: found.reason == "PartitionDown")
    finally:
        desk.site.run("scontrol", "update", "PartitionName=fl", "State=UP")
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Completed"


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"memory_mib": 1_000_000}, "no node has as much memory"),
        ({"site": {"partition": "nowhere"}}, "no such partition"),
        ({"gpus_per_task": 1}, "no such GPUs"),
        ({"site": {"constraint": "a100"}}, "no node has the features"),
        ({"site": {"wrap": "reboot"}}, "wrap: is not an option"),
    ],
)
async def test_refused_at_once(desk: Desk, wishes: dict[str, object], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        await desk.submit(["true"], **wishes)


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"time_seconds": 7200}, "TimeLimitTooLong"),
        ({"tasks": 3, "nodes": 3}, "ImpossibleRequest"),
        ({"cpus_per_task": 64}, "ImpossibleRequest"),
    ],
)
async def test_accepted_and_never_started(desk: Desk, wishes: dict[str, int], reason: str) -> None:
    id = await desk.submit(["true"], **wishes)
    _, found = await desk.until(id, lambda _, found: found.reason == reason)
    assert (found.phase, found.hopeless) == (Phase.QUEUED, True)


async def test_the_controller_is_away(desk: Desk) -> None:
    """Nothing is taken for an end, and what runs is found again."""
    id = await desk.submit(heeding())
    await desk.until_said("up")
    desk.site.stop_daemon(CONTROLLER)
    for call in (desk.slurm.queue(), desk.slurm.cancel(id), desk.slurm.submit("#!/bin/sh\n", desk.options())):
        with pytest.raises(Unavailable, match="does not answer"):
            await call
    desk.site.start_daemon(CONTROLLER)
    _, found = await desk.until_phase(id, Phase.RUNNING)
    assert desk.said() == "up\n"
    await desk.slurm.cancel(id)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert found.reason == "Cancelled"


def shim(folder: Path, before: str) -> str:
    """A PATH on which `sbatch` is a script that hangs, after ``before``."""
    folder.mkdir()
    script = folder / "sbatch"
    script.write_text(f"#!/bin/sh\n{before}\necho $$ >{folder}/pid\nsleep 1000\n")
    script.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_sbatch_that_hangs(desk: Desk, tmp_path: Path, arrives: bool) -> None:
    """It may have submitted, or not: the name of the job tells."""
    path = desk.environment["PATH"]
    hung = shim(tmp_path / "bin", f'PATH={path} sbatch "$@"' if arrives else "")
    slurm = Slurm({**desk.environment, "PATH": f"{hung}:{path}"}, seconds=10)
    name = f"umbel-unsure-{arrives}"
    with pytest.raises(OutcomeUnknown, match="may exist"):
        await slurm.submit("#!/bin/sh\n", desk.options(name))
    assert len([job for job in await slurm.queue() if job.name == name]) == arrives
    assert not is_alive(int((tmp_path / "bin/pid").read_text()))


async def test_an_agent_that_stops_leaves_no_command_behind(desk: Desk, tmp_path: Path) -> None:
    hung = shim(tmp_path / "bin", "")
    slurm = Slurm({**desk.environment, "PATH": f"{hung}:{desk.environment['PATH']}"})
    submitting = asyncio.create_task(slurm.submit("#!/bin/sh\n", desk.options()))
    pid = tmp_path / "bin/pid"
    await asyncio.to_thread(until, lambda: pid.exists() and pid.read_text().endswith("\n"), "sbatch to hang")
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert not is_alive(int(pid.read_text()))


async def test_without_accounting_nothing_is_known_of_the_past(desk: Desk) -> None:
    id = await desk.submit(["true"])
    assert await desk.slurm.history([id]) == {}


async def test_without_slurm(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="squeue cannot be run; put Slurm's commands on the agent's PATH"):
        await Slurm({"PATH": str(tmp_path)}).queue()
