"""How a job ends: once, and what is left of it."""

from __future__ import annotations

import json

import pytest
from unit.operator.hub.world import NOW, World, started

from umbel_operator import names
from umbel_operator.conditions import timestamp

VOLUME = ("PersistentVolumeClaim", "default", "digits-model-0f3c2a9e")


def complete() -> World:
    world = started()
    world.serve("Complete", 3, reason="RoundsDone")
    world.settle()
    return world


def test_the_server_hands_the_final_model_out_before_anything_stops() -> None:
    world = complete()
    assert world.said("Complete") == ("True", "RoundsDone")
    assert world.status["completionTime"] == timestamp(NOW)
    assert world.replicas == 1
    assert set(world.desired().values()) == {"Running"}
    world.ends(0)
    world.settle()
    assert world.replicas == 0
    assert set(world.desired().values()) == {"Finished"}
    assert world.said("Progressing") == ("False", "Complete")
    assert world.said("ServerReady") == ("False", "Ended")


def test_a_server_that_does_not_end_is_given_ninety_seconds() -> None:
    world = complete()
    world.now = NOW + 90
    world.settle()
    assert world.replicas == 1
    world.now = NOW + 91
    world.settle()
    assert world.replicas == 0


def test_silos_stay_as_they_were_at_the_end() -> None:
    world = complete()
    world.ends(0)
    world.settle()
    assert world.status["silos"] == {"ready": 4, "total": 4, "summary": "4/4"}


def test_the_model_is_told_in_the_status_and_on_its_volume() -> None:
    world = complete()
    assert world.status["model"] == {
        "round": 3,
        "digest": "sha256:0",
        "volume": "digits-model-0f3c2a9e",
        "path": "job/model",
    }
    world.ends(0)
    world.settle()
    annotations = world.objects[VOLUME]["metadata"]["annotations"]
    assert json.loads(annotations[names.MODEL]) == {"digest": "sha256:0", "path": "job/model", "round": 3}
    assert annotations[names.FINISHED] == timestamp(NOW)


def test_a_volume_that_was_removed_after_the_end_stays_so() -> None:
    world = complete()
    world.ends(0)
    world.settle()
    del world.objects[VOLUME]
    assert world.plan().actions == ()


@pytest.mark.parametrize("phase", ["Training", "Complete", "Gathering"])
def test_failed_stays_failed(phase: str) -> None:
    world = started()
    world.serve("Failed", 1, reason="TooManyFailures", message="5 attempts of round 2 failed")
    world.settle()
    assert world.said("Failed") == ("True", "TooManyFailures")
    world.serve(phase, 3, epoch=2)
    world.settle()
    assert world.said("Failed") == ("True", "TooManyFailures")
    assert world.condition("Failed")["message"] == "5 attempts of round 2 failed"
    assert not world.has("Complete")
    world.now += 1000
    world.settle()
    assert world.replicas == 0
    world.change(suspend=True)
    world.settle()
    world.change(suspend=False)
    world.settle()
    assert world.said("Failed") == ("True", "TooManyFailures")
    assert world.replicas == 0


def test_the_deadline_is_the_servers_to_keep_and_a_minute_later_ours() -> None:
    world = started(activeDeadlineSeconds=100)
    world.now = NOW + 160
    world.settle()
    assert not world.has("Failed")
    world.now = NOW + 161
    world.settle()
    assert world.said("Failed") == ("True", "DeadlineExceeded")
    world.now = NOW + 161 + 91
    world.settle()
    assert world.replicas == 0
    assert set(world.desired().values()) == {"Finished"}


def test_suspended_and_resumed_the_deadline_counts_anew() -> None:
    world = started(activeDeadlineSeconds=100)
    world.change(suspend=True)
    world.settle()
    assert world.replicas == 0
    assert set(world.desired().values()) == {"Suspended"}
    assert world.said("Suspended") == ("True", "Suspended")
    assert world.said("Progressing") == ("False", "Suspended")
    assert "startTime" not in world.status
    world.now = NOW + 10_000
    assert world.plan().actions == ()
    world.change(suspend=False)
    world.settle()
    assert world.replicas == 1
    assert set(world.desired().values()) == {"Running"}
    assert world.said("Suspended") == ("False", "Resumed")
    assert world.status["startTime"] == timestamp(world.now)
    assert not world.has("Failed")


def test_a_job_that_begins_suspended_has_everything_but_a_pod() -> None:
    world = World(suspend=True)
    world.settle()
    assert world.replicas == 0
    assert set(world.desired().values()) == {"Suspended"}
    assert world.plan().actions == ()


def test_a_job_goes_when_its_time_after_the_end_is_over() -> None:
    world = started(ttlSecondsAfterFinished=300)
    world.now = NOW + 1000
    assert not world.plan().delete_job
    world.serve("Complete", 3)
    world.settle()
    world.ends(0)
    world.settle()
    assert world.plan().again == 300
    world.now += 299
    assert not world.plan().delete_job
    world.now += 1
    plan = world.plan()
    assert plan.delete_job
    assert plan.actions == ()


def test_without_a_time_it_stays() -> None:
    world = complete()
    world.ends(0)
    world.now += 10**8
    assert not world.plan().delete_job
