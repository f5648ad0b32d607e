"""What an agent makes of a FederatedClient where clients are jobs of a batch scheduler."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.agent.bench import FINAL, SLURM, Crash, Queue
from unit.operator.agent.silo import client, site_file

from umbel_operator.agent.backends.slurm.holding import name
from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.federatedclient import Server

FOLDER = Path("/shared/umbel/clients/digits-1")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    queue = Queue(tmp_path)
    queue.begin()
    return queue


def request(resources: dict[str, Any] | None = None, **slurm: Any) -> Request:
    site = site_file(datasets={"named": {"path": "/shared/it's data"}}, slurm={**SLURM, **slurm})
    asked = client(resources=resources or {})
    assert site.slurm is not None
    server = Server("grpcs://203.0.113.9:30443", "digits.default.umbel.internal")
    return Request(asked, site, site.slurm, server, FOLDER, {"PATH": "/bin", "SECRET": "x"})


def last_line(script: str) -> list[str]:
    return shlex.split(script.splitlines()[-1])


def test_the_script_looks_for_its_token_and_becomes_srun() -> None:
    script = request(environment={"A": "it's"}).script("t-1")
    assert script.startswith("#!/bin/sh\n")
    assert "export A='it'\"'\"'s'" in script
    assert "SECRET" not in script
    assert '[ "$(cat /shared/umbel/clients/digits-1/token)" = t-1 ] || exit 75' in script
    words = last_line(script)
    assert words[:5] == ["exec", "srun", "--export=ALL", "--ntasks=1", "--cpus-per-task=1"]
    assert words[5:10] == ["/srv/venv/bin/python", "-P", "-m", "umbel", "client"]
    assert "--data=/shared/it's data" in words
    assert "--stop-seconds=120" in words
    assert words[-3:] == ["--while", f"{FOLDER}/token", "t-1"]


def test_what_the_job_asks_for_is_asked_of_the_scheduler() -> None:
    limits = {"cpu": "3500m", "memory": "1500M", "nvidia.com/gpu": "2", "umbel.dev/nodes": "2", "umbel.dev/tasks": 4}
    found = request({"limits": limits}, qos="long", options={"constraint": "a100"}).options("n", "c")
    assert (found.cpus_per_task, found.memory_mib, found.gpus_per_task) == (3, 1431, 2)
    assert (found.nodes, found.tasks) == (2, 4)
    assert found.site == {"partition": "fl", "qos": "long", "constraint": "a100"}
    assert "--partition=fl" in found.arguments()


def test_no_memory_is_not_all_of_it() -> None:
    """`sbatch --mem=0` gives a whole node's."""
    assert request({"limits": {"memory": "0"}}).options("n", "c").memory_mib == 1


def test_without_wishes_it_is_one_task_of_the_sites_defaults() -> None:
    found = request().options("n", "c")
    assert (found.tasks, found.nodes, found.gpus_per_task, found.memory_mib) == (1, None, 0, 2048)


def test_a_container_sees_its_folder_and_its_data_alone() -> None:
    images = {client().image: "/shared/images/ct.sif"}
    made = request(python=None, container={"program": "/opt/apptainer", "images": images, "options": ["--nv"]})
    words = last_line(made.script("t-1"))
    begin = words.index("/opt/apptainer")
    assert words[begin : begin + 4] == ["/opt/apptainer", "exec", "--containall", "--no-home"]
    assert f"--bind={FOLDER}:{FOLDER}" in words
    assert "--bind=/shared/it's data:/data:ro" in words
    assert "--data=/data" in words
    image = words.index("/shared/images/ct.sif")
    assert words[image - 1] == "--nv"
    assert words[image + 1 : image + 3] == ["umbel", "client"]
    other = request(python=None, container={})
    assert f"docker://{client().image}" in last_line(other.script("t-1"))


def test_into_a_container_goes_what_the_site_gives_and_what_tells_the_ranks_apart(tmp_path: Path) -> None:
    """The very line of the script, by a real shell, with a program that says what it was given."""
    program = tmp_path / "apptainer"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"; echo; env -0\n')
    program.chmod(0o755)
    made = request(python=None, container={"program": str(program)}, environment={"A": 'it\'s $HOME, "b" \\c'})
    script = made.script("t-1")
    words = last_line(script)
    exports = "\n".join(line for line in script.splitlines() if line.startswith("export "))
    own = {"PATH": "/bin:/usr/bin", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "x", "CUDA_VISIBLE_DEVICES": '0,1 "$(id)"'}
    line = f"{exports}\nexec {shlex.join(words[words.index('/bin/sh') :])}"
    done = subprocess.run(["sh", "-c", line], env=own, capture_output=True, text=True, check=True)
    said, _, after = done.stdout.partition("\0\n")
    assert said.split("\0") == words[words.index(str(program)) + 1 :]
    found = dict(pair.split("=", 1) for pair in after.rstrip("\0").split("\0"))
    inside = {name.removeprefix("APPTAINERENV_"): value for name, value in found.items() if "APPTAINERENV_" in name}
    assert inside["A"] == 'it\'s $HOME, "b" \\c'
    assert inside["SLURM_PROCID"] == "1"
    assert inside["CUDA_VISIBLE_DEVICES"] == '0,1 "$(id)"'
    assert inside["OMP_NUM_THREADS"] == "1"
    assert not inside.keys() & {"PATH", "HOME", "SLURM_LOCALID", "SLURM_JOB_NAME"}


def test_queued_is_not_running(queue: Queue) -> None:
    (job,) = queue.active
    assert job.comment == f"umbel mark {queue.only.folder.name}"
    assert queue.only.attempt is not None
    assert queue.only.attempt.job == job.id
    assert queue.said("Ready") == ("False", "Queued")
    queue.become(job.id, "RUNNING")
    queue.settle()
    assert queue.said("Ready") == ("True", "Running")
    assert len(queue.jobs) == 1


def test_queued_for_too_long_is_said(queue: Queue) -> None:
    queue.now += 86_401
    queue.one_pass()
    assert queue.said("Ready") == ("False", "PendingTimeout")
    assert "24 hours" in queue.words()
    assert len(queue.active) == 1, "its place in the queue is not given up"


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "TIMEOUT"])
def test_what_is_nobodys_fault_is_submitted_again_at_once(queue: Queue, state: str) -> None:
    for _ in range(5):
        (job,) = queue.active
        queue.become(job.id, "RUNNING")
        queue.one_pass()
        queue.become(job.id, state)
        queue.one_pass()
        assert len(queue.active) == 1
        queue.one_pass()
    assert len({job.name for job in queue.jobs}) == 6


def test_a_client_that_fails_is_submitted_again_after_longer_and_longer_pauses(queue: Queue) -> None:
    waited = []
    for _ in range(4):
        (job,) = queue.active
        queue.become(job.id, "FAILED", exit_code=1)
        ended = queue.now
        queue.one_pass()
        assert queue.said("Ready") == ("False", "Failed")
        while not queue.active:
            queue.now += queue.again or 0.0
            queue.one_pass()
        waited.append(round(queue.now - ended))
        queue.one_pass()
    assert waited == [1, 2, 4, 8]


def test_a_request_that_can_never_be_met_is_cancelled_and_said(queue: Queue) -> None:
    (job,) = queue.active
    queue.jobs = [job.__class__(job.id, "PENDING", job.name, job.comment, "PartitionNodeLimit", submitted=queue.now)]
    queue.one_pass()
    assert not queue.active
    queue.one_pass()
    assert queue.said("Ready") == ("False", "ImpossibleRequest")
    queue.now += 299
    queue.one_pass()
    assert not queue.active
    queue.now += 2
    queue.one_pass()
    assert len(queue.active) == 1


def test_what_the_scheduler_refuses_is_asked_for_again_later(queue: Queue) -> None:
    (job,) = queue.active
    queue.refuses = True
    queue.become(job.id, "TIMEOUT")
    queue.one_pass()
    queue.one_pass()
    assert queue.said("Ready") == ("False", "SubmissionRefused")
    queue.refuses = False
    queue.now += 301
    queue.settle()
    assert len(queue.active) == 1


def test_a_job_that_the_scheduler_has_forgotten_is_submitted_again(queue: Queue) -> None:
    queue.jobs = []
    queue.one_pass()
    assert queue.said("Ready") == ("False", "JobForgotten")
    queue.now += 62
    queue.one_pass()
    assert len(queue.active) == 1


def test_of_a_job_that_has_left_the_queue_the_accounting_knows_how_it_ended(queue: Queue) -> None:
    (job,), queue.jobs = queue.jobs, []
    queue.history = {job.id: replace(job, state="PREEMPTED", started=queue.now, ended=queue.now)}
    queue.one_pass()
    assert len(queue.active) == 1
    assert queue.only.attempt is not None
    assert (queue.only.attempt.number, queue.only.attempt.failures) == (2, 0)


@pytest.mark.parametrize("wrong", [{"state": "RUNNING"}, {"state": "COMPLETED", "name": "of-last-year"}])
def test_what_the_accounting_has_wrong_is_not_believed(queue: Queue, wrong: dict[str, str]) -> None:
    """It never heard of the end when the controller crashed, or the job's number was given before."""
    (job,), queue.jobs = queue.jobs, []
    queue.history = {job.id: replace(job, **wrong)}
    queue.one_pass()
    assert queue.said("Ready") == ("False", "JobForgotten")


def test_an_answer_that_was_lost_makes_no_second_job(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.loses = [True]
    queue.begin()
    (job,) = queue.jobs
    assert queue.only.attempt is not None
    assert queue.only.attempt.job == job.id


def test_a_job_that_comes_after_it_was_given_up_ends_at_once_and_is_cancelled(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.loses = ["late"]
    queue.one_pass()
    queue.one_pass()
    queue.sign()
    queue.one_pass()
    queue.one_pass()
    assert queue.said("Ready") == ("False", "Submitting")
    queue.now += 61
    queue.one_pass()
    assert len(queue.active) == 1
    (late,) = queue.late
    queue.jobs.append(late)  # it waits in the queue now
    queue.late = []
    queue.settle()
    assert [job.state for job in queue.jobs if job.id == late.id] == ["CANCELLED"]
    assert len(queue.active) == 1


def test_the_final_model_is_heard_from_the_file_that_the_client_left(queue: Queue) -> None:
    (job,) = queue.active
    queue.report(FINAL)
    queue.become(job.id, "COMPLETED", exit_code=0)
    queue.settle()
    assert queue.said("Finished") == ("True", "ModelKept")
    assert queue.said("Ready") == ("False", "Finished")
    assert not queue.active


def test_gone_at_the_hub_its_job_is_cancelled_and_its_key_removed(queue: Queue) -> None:
    queue.gone = True
    queue.settle()
    assert not queue.active
    assert queue.only.owner.retained
    assert not queue.only.secrets


EVENTS = st.lists(
    st.one_of(
        st.integers(0, 5).map(lambda steps: ("killed after", steps)),
        st.sampled_from([True, "late"]).map(lambda how: ("loses", how)),
        st.sampled_from(
            ["pass", "minutes", "arrive", "start", "PREEMPTED", "NODE_FAIL", "FAILED", "forget", "suspend", "resume"]
        ).map(lambda what: (what, 0)),
    ),
    max_size=16,
)


def wanted(queue: Queue) -> list[str]:
    """The names of jobs whose clients would go on: any other stops at the sight of the token."""
    attempts = [kept.attempt for kept in queue.folders.values() if kept.attempt is not None]
    names = [name("hospital-a", attempt.token) for attempt in attempts if attempt.stopping is None]
    return [job.name for job in queue.active if job.name in names]


@settings(max_examples=100)
@given(EVENTS)
def test_wherever_an_agent_dies_and_whatever_is_lost_one_job_trains_and_never_two(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, Any]]
) -> None:
    queue = Queue(tmp_path_factory.mktemp("ca"))
    queue.begin()
    for what, how in events:
        match what:
            case "killed after":
                with contextlib.suppress(Crash):
                    queue.one_pass(how)
            case "loses":
                queue.loses.append(how)
            case "pass":
                queue.one_pass()
            case "minutes":
                queue.now += 90
            case "arrive":
                queue.arrive()
            case "start" if queue.active:
                queue.become(queue.active[0].id, "RUNNING", started=queue.now)
            case "PREEMPTED" | "NODE_FAIL" | "FAILED" if queue.active:
                queue.become(queue.active[0].id, what)
            case "forget":
                queue.jobs = queue.active
            case "suspend" | "resume":
                queue.change(desiredState="Suspended" if what == "suspend" else "Running")
        assert len(wanted(queue)) <= 1
        assert len({job.name for job in queue.jobs}) == len(queue.jobs), "no attempt is submitted twice"
    queue.loses = []
    queue.arrive()
    queue.change(desiredState="Running")
    queue.now += 600
    queue.settle()
    assert len(queue.active) == 1
    assert wanted(queue) == [queue.active[0].name]
