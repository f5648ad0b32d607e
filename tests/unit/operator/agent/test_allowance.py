"""policy.maxSeconds by the silo's own clock, whatever the job says of its length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from unit.operator.agent.bench import FINAL, PROCESS, Bench, Machine, Queue
from unit.operator.agent.silo import UNASKED, World, client, site_file

from umbel_operator.agent.allowance import bounded, left
from umbel_operator.agent.backends.slurm.holding import Submit
from umbel_operator.agent.policy import ALLOWED, Decision
from umbel_operator.agent.site import Site

SPAN = 40_000.0  # more than a bench waits by itself
SHORT = {"images": ["*"], "requireDigest": False, "maxSeconds": 40_000, **UNASKED}
BRIEF: dict[str, Any] = {"activeDeadlineSeconds": 60}  # so says the job
POLICY = site_file(policy=SHORT).policy
USED_UP = ("False", "TimeUsedUp")

B = TypeVar("B", bound=Bench)


@pytest.mark.parametrize(
    ("begun", "now", "remaining"), [(None, 9e9, SPAN), (0.0, 0.0, SPAN), (0.0, 39_999.0, 1.0), (0.0, 9e9, 0.0)]
)
def test_it_counts_from_the_first_start(begun: float | None, now: float, remaining: float) -> None:
    assert left(POLICY, begun, now) == remaining
    assert left(site_file().policy, begun, now) is None


def test_the_last_second_is_still_its_own() -> None:
    allowed = Decision(ALLOWED)
    assert bounded(client(), allowed, POLICY, 0.0, 39_999.0) == allowed
    assert bounded(client(), allowed, POLICY, 0.0, 39_999.0).again == 1.0
    assert bounded(client(), allowed, POLICY, 0.0, 40_000.0).reason == "TimeUsedUp"
    assert bounded(client(), allowed, POLICY, None, 9e9).allowed, "one that never ran has all of it"
    assert bounded(client(), Decision("Denied"), POLICY, 0.0, 9e9).reason == "Denied"
    assert bounded(client(desiredState="Finished"), allowed, POLICY, 0.0, 9e9).allowed


def brief(bench: B) -> B:
    """The job says that it is short."""
    bench.change(**BRIEF)
    return bench


def machine_site(**policy: Any) -> Site:
    return site_file(datasets={"named": {}}, process=PROCESS, policy={**SHORT, **policy})


def passes_by(bench: Bench) -> None:
    """To the moment that the passes themselves ask for, then on until nothing is written."""
    assert bench.again is not None
    bench.now += bench.again
    bench.settle()


def test_a_process_is_stopped_when_its_time_is_up(tmp_path: Path) -> None:
    machine = brief(Machine(tmp_path, policy=SHORT))
    machine.begin()
    begun = machine.only.begun
    assert machine.alive
    passes_by(machine)
    assert begun is not None
    assert machine.now - begun >= SPAN
    assert not machine.alive
    assert machine.said("Accepted") == machine.said("Ready") == USED_UP
    assert not machine.only.secrets


def test_one_that_was_started_before_there_was_a_clock_has_one(tmp_path: Path) -> None:
    machine = brief(Machine(tmp_path, policy=SHORT))
    machine.begin()
    kept = machine.only
    assert kept.attempt is not None
    machine.folders = {kept.folder: replace(kept, begun=None)}
    machine.now += 100
    machine.one_pass()
    assert machine.only.begun == kept.attempt.started


def test_neither_a_suspension_nor_another_key_begins_the_time_anew(tmp_path: Path) -> None:
    machine = brief(Machine(tmp_path, policy=SHORT))
    machine.begin()
    machine.change(desiredState="Suspended")
    machine.settle()
    machine.now += SPAN / 2
    machine.site = machine_site(images=[])
    machine.settle()
    assert machine.said("Accepted") == ("False", "ImageNotAllowed")
    machine.site = machine_site()
    machine.change(desiredState="Running", certificate=None)
    machine.one_pass()
    machine.one_pass()
    machine.sign()
    machine.settle()
    assert machine.alive
    machine.now += SPAN / 2
    machine.settle()
    assert not machine.alive
    assert machine.said("Ready") == USED_UP


def test_more_time_from_the_site_file_lets_it_go_on(tmp_path: Path) -> None:
    machine = brief(Machine(tmp_path, policy=SHORT))
    machine.begin()
    passes_by(machine)
    assert not machine.alive
    machine.site = machine_site(maxSeconds=86_400)
    machine.change(certificate=None)
    machine.begin()
    assert machine.alive


def test_one_that_kept_its_model_stays_finished(tmp_path: Path) -> None:
    machine = brief(Machine(tmp_path, policy=SHORT))
    machine.begin()
    machine.report(FINAL)
    machine.change(desiredState="Finished")
    machine.settle()
    machine.now += 2 * SPAN
    machine.one_pass()
    assert machine.said("Accepted") == ("True", "PolicyAllows")
    assert machine.said("Finished") == ("True", "ModelKept")


def test_time_in_the_queue_does_not_count_before_the_first_start(tmp_path: Path) -> None:
    queue = brief(Queue(tmp_path, policy=SHORT))
    queue.begin()
    (job,) = queue.active
    queue.now += 2 * SPAN
    queue.one_pass()
    assert queue.said("Ready") == ("False", "Queued")
    started = queue.now
    queue.become(job.id, "RUNNING", started=started)
    queue.settle()
    assert queue.only.begun == started
    passes_by(queue)
    assert not queue.active
    assert queue.said("Ready") == USED_UP


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED"])
def test_a_start_that_nobody_saw_until_its_time_was_up_is_not_forgotten(tmp_path: Path, state: str) -> None:
    queue = brief(Queue(tmp_path, policy=SHORT))
    queue.begin()
    (job,) = queue.active
    started = queue.now
    queue.now += 2 * SPAN
    queue.become(job.id, state, started=started)
    for _ in range(10):
        plan = queue.one_pass()
        assert not [action for action in plan.actions if isinstance(action, Submit)]
        assert not queue.active
        queue.now += 100.0
    assert queue.only.begun == started
    assert queue.said("Ready") == USED_UP


def test_of_a_start_that_nobody_saw_the_rest_is_what_is_left(tmp_path: Path) -> None:
    queue = brief(Queue(tmp_path, policy=SHORT))
    queue.begin()
    (job,) = queue.active
    queue.now += 1000.0
    queue.become(job.id, "PREEMPTED", started=queue.now - 1000.0)
    (submitted,) = (action for action in queue.one_pass().actions if isinstance(action, Submit))
    assert submitted.options.time_seconds == 39_000


def test_slurm_is_asked_for_no_more_than_is_left(tmp_path: Path) -> None:
    """So it ends in time even if the agent does not come back."""
    queue = brief(Queue(tmp_path, policy=SHORT))
    queue.begin()
    times = []
    for spent in (0.0, 1000.0, 38_990.0):
        (job,) = queue.active
        queue.become(job.id, "RUNNING", started=queue.now)
        queue.one_pass()
        queue.now += spent
        queue.become(job.id, "PREEMPTED", started=queue.now - spent)
        times += [a.options.time_seconds for a in queue.one_pass().actions if isinstance(a, Submit)]
        queue.one_pass()
    assert times == [40_000, 39_000, 60]
    queue.become(queue.active[0].id, "RUNNING", started=queue.now)
    digest = queue.only.attempt.digest if queue.only.attempt else ""
    queue.one_pass()
    assert queue.only.attempt is not None
    assert queue.only.attempt.digest == digest, "what is left is no reason to start it anew"


def test_a_pod_is_gone_when_its_time_is_up(tmp_path: Path) -> None:
    world = World(tmp_path, site_file(policy=SHORT), **BRIEF)
    world.one_pass()
    world.one_pass()
    world.sign()
    world.settle()
    assert world.replicas == 1
    world.now += SPAN - 60
    world.settle()
    assert world.replicas == 1
    world.now += 60
    world.settle()
    assert world.kinds() == ["PersistentVolumeClaim"]
    assert world.said("Ready") == USED_UP
