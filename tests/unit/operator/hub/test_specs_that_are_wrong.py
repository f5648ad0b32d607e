"""A spec that cannot be used: a job that never began fails, one that runs goes on."""

from __future__ import annotations

from unit.operator.hub.world import World, started

from umbel_operator.conditions import timestamp
from umbel_operator.hub.plan import Delete

WRONG = {"total": 3, "updates": 1, "quorum": 3}


def test_a_job_that_never_began_fails_with_every_fault() -> None:
    world = World(rounds=WRONG)
    world.settle()
    assert world.said("Failed") == ("True", "InvalidSpec")
    assert "spec.rounds" in world.condition("Failed")["message"]
    assert world.said("Progressing") == ("False", "Failed")
    assert "completionTime" in world.status
    assert world.objects == {}
    assert world.clients == {}


def test_it_has_failed_for_good() -> None:
    world = World(rounds=WRONG)
    world.settle()
    world.change(rounds={"total": 3, "updates": 3, "quorum": 3})
    world.settle()
    assert world.said("Failed") == ("True", "InvalidSpec")
    assert world.objects == {}
    assert world.clients == {}


def test_a_job_that_runs_goes_on_as_it_was_and_says_what_it_cannot_do() -> None:
    world = started()
    objects, clients = dict(world.objects), dict(world.clients)
    world.change(rounds=WRONG)
    world.settle()
    assert world.said("SpecAccepted") == ("False", "InvalidSpec")
    assert "spec.rounds" in world.condition("SpecAccepted")["message"]
    assert world.said("Progressing") == ("True", "Training")
    assert (world.objects, world.clients) == (objects, clients)
    assert not world.has("Failed")


def test_meanwhile_its_rounds_are_still_told_and_it_still_ends() -> None:
    world = started()
    world.change(rounds=WRONG)
    world.serve("Training", 2)
    world.settle()
    assert world.status["round"]["progress"] == "2/3"
    world.serve("Complete", 3)
    world.settle()
    world.ends(0)
    world.settle()
    assert world.has("Complete")
    assert world.replicas == 0


def test_a_failed_one_is_deleted_after_its_time_too() -> None:
    world = World(rounds=WRONG, ttlSecondsAfterFinished=30)
    assert world.one_pass().again == 30
    world.now += 31
    assert world.plan().delete_job


def test_it_can_be_suspended_all_the_same() -> None:
    world = started()
    world.change(rounds=WRONG, suspend=True)
    world.settle()
    assert world.said("SpecAccepted") == ("False", "InvalidSpec")
    assert world.said("Suspended") == ("True", "Suspended")
    assert world.replicas == 0


def test_mended_it_is_accepted_again() -> None:
    world = started()
    before = world.obj["spec"]["rounds"]
    world.change(rounds=WRONG)
    world.settle()
    world.change(rounds=before)
    world.settle()
    assert not world.has("SpecAccepted")


def test_one_that_lost_its_manifest_too_leaves_nothing_running() -> None:
    world = started()
    world.change(rounds=WRONG)
    world.settle()
    del world.objects["ConfigMap", "default", "digits-server"]
    world.settle()
    world.now += 1000
    world.settle()
    assert world.has("Failed")
    assert ("StatefulSet", "default", "digits-server") not in world.objects
    assert not world.clients


def test_what_a_finalizer_keeps_of_one_that_lost_its_manifest_is_deleted_once() -> None:
    world = started()
    world.change(rounds=WRONG)
    world.settle()
    del world.objects["ConfigMap", "default", "digits-server"]
    deleted = [action for action in world.plan().actions if isinstance(action, Delete)]
    assert {action.kind for action in deleted} == {"StatefulSet", "FederatedClient"}
    for live in (*world.objects.values(), *world.clients.values()):
        live["metadata"]["deletionTimestamp"] = timestamp(world.now)
    assert not [action for action in world.plan().actions if isinstance(action, Delete)]
