"""What the hub makes of a FederatedJob: from the first sight of it to its end."""

from __future__ import annotations

import dataclasses

import pytest
from unit.operator.hub.world import NOW, SILOS, World, started

from umbel_operator.conditions import timestamp
from umbel_operator.hub.plan import RESYNC_SECONDS, Announce, Apply, Delete, SetStatus, Tell


def test_what_a_pod_needs_is_there_before_it_and_clients_once_there_is_an_address() -> None:
    world = World()
    first = [action.obj["kind"] for action in world.one_pass().actions if isinstance(action, Apply)]
    assert first[-1] == "StatefulSet"
    needed = ["ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "Service", "Service", "ServiceAccount"]
    assert sorted(first[:-1]) == needed
    second = [action.obj for action in world.one_pass().actions if isinstance(action, Apply)]
    assert [obj["kind"] for obj in second] == ["FederatedClient"] * 4
    assert {obj["metadata"]["namespace"] for obj in second} == {f"umbel-silo-{name}" for name in SILOS}
    assert {obj["spec"]["server"]["url"] for obj in second} == {"grpcs://10.96.3.4:8443"}
    assert world.status["endpoint"] == "grpcs://10.96.3.4:8443"


def test_a_balancer_may_take_minutes_and_certificates_are_asked_for_meanwhile() -> None:
    world = World(server={"expose": {"type": "LoadBalancer"}})
    world.settle()
    assert len(world.clients) == 4
    assert all("server" not in client["spec"] for client in world.clients.values())
    assert world.said("Progressing") == ("True", "WaitingForEndpoint")


def test_it_comes_to_rest_and_another_operator_writes_nothing() -> None:
    world = started()
    world.now += 3600
    assert world.plan().actions == ()
    world.applied = {}
    assert world.plan().actions == ()
    world.told = None
    (tell,) = world.plan().actions
    assert isinstance(tell, Tell)


def test_what_somebody_changed_is_set_right() -> None:
    world = started()
    world.one("StatefulSet")["spec"]["replicas"] = 3
    (apply,) = world.plan().actions
    assert isinstance(apply, Apply)
    assert apply.obj["spec"]["replicas"] == 1
    del world.objects["NetworkPolicy", "default", "digits-server"]
    assert len(world.plan().actions) == 2


def test_the_server_is_told_the_members_and_a_new_process_of_it_again() -> None:
    world = World()
    world.settle()
    world.serve()
    (told,) = [action.told for action in world.plan().actions if isinstance(action, Tell)]
    assert (told.epoch, told.members, told.total) == (1, frozenset(SILOS), 3)
    world.settle()
    world.serve(epoch=2)
    assert world.plan().actions == (Tell(dataclasses.replace(told, epoch=2)),)


def report(world: World, silo: str, reason: str) -> None:
    """The silo's agent says so of its client."""
    (client,) = (client for client in world.clients.values() if client["spec"]["silo"] == silo)
    conditions = [c for c in client["status"]["conditions"] if c["type"] != "Ready"]
    ready = {"type": "Ready", "status": str(reason == "Running"), "reason": reason}
    client["status"] = {"conditions": [*conditions, ready]}


def told_queued(world: World) -> list[frozenset[str]]:
    return [action.told.queued for action in world.one_pass().actions if isinstance(action, Tell)]


def test_the_server_is_told_who_waits_in_the_queue_of_his_site_and_when_he_does_no_more() -> None:
    world = started()
    assert world.told is not None
    assert world.told.queued == frozenset()
    for reason in ("Queued", "NodesUnavailable", "PendingTimeout"):
        report(world, "hospital-b", reason)
        assert told_queued(world) == ([frozenset({"hospital-b"})] if reason == "Queued" else []), "once"
    report(world, "hospital-b", "Starting")
    assert told_queued(world) == [frozenset()]
    report(world, "hospital-b", "Queued")
    world.silo("hospital-b", alive=False)
    assert told_queued(world) == [], "what a silent agent said last is no news"
    world.silo("hospital-b", alive=True, suspended=True)
    assert told_queued(world) == [frozenset()], "the members have changed; he is none"


def test_a_server_of_another_job_is_told_nothing_and_believed_nothing() -> None:
    world = World()
    world.settle()
    world.serve("Complete", 3, uid="another")
    assert not [action for action in world.plan().actions if isinstance(action, Tell)]
    world.settle()
    assert not world.has("Complete")


def test_the_state_of_the_job_in_a_word() -> None:
    world = World()
    world.settle()
    assert world.said("Progressing") == ("True", "Starting")
    world.serve("Gathering")
    world.settle()
    assert world.said("Progressing") == ("True", "WaitingForSilos")
    world.serve("Training", 1)
    world.settle()
    assert world.said("Progressing") == ("True", "Training")
    assert world.said("ServerReady") == ("True", "Reachable")
    assert world.said("SilosReady") == ("True", "AllReady")
    assert world.status["round"] == {"number": 1, "total": 3, "attempt": 1, "progress": "1/3"}
    assert world.status["silos"] == {"ready": 4, "total": 4, "summary": "4/4"}


def test_a_server_that_is_away_for_a_while_loses_nothing_of_the_status() -> None:
    world = started()
    world.serve("Training", 2)
    world.settle()
    before = world.status
    world.server = None
    world.settle()
    assert world.said("ServerReady")[0] == "False"
    assert {name: world.status[name] for name in ("round", "history", "model")} == {
        name: before[name] for name in ("round", "history", "model")
    }


def test_total_and_deadline_reach_a_server_that_runs() -> None:
    world = started()
    world.change(rounds={**world.obj["spec"]["rounds"], "total": 9}, activeDeadlineSeconds=99)
    tells = [action.told for action in world.plan().actions if isinstance(action, Tell)]
    assert [(told.total, told.deadline) for told in tells] == [(9, 99)]


def test_an_event_is_told_once() -> None:
    world = started()
    count = len(world.events)
    assert "ServerReady" in {event.reason for event in world.events}
    world.now += 60
    world.settle()
    assert len(world.events) == count


def test_a_status_is_written_whole_with_its_times() -> None:
    world = World()
    plan = world.plan()
    (status,) = [action.status for action in plan.actions if isinstance(action, SetStatus)]
    assert status["startTime"] == timestamp(NOW)
    assert status["observedGeneration"] == 1
    assert plan.again == RESYNC_SECONDS


def test_a_node_that_is_silent_for_five_minutes_loses_its_pod() -> None:
    world = started()
    world.pod_node_lost = NOW
    world.now = NOW + 299
    assert not [action for action in world.plan().actions if isinstance(action, Delete)]
    world.now = NOW + 300
    plan = world.plan()
    assert Delete("Pod", "default", "digits-server-0", "pod", force=True) in plan.actions
    assert ("Warning", "NodeLost") in [(a.type, a.reason) for a in plan.actions if isinstance(a, Announce)]


@pytest.mark.parametrize(("grace", "forced"), [(30, True), (0, False)])
def test_a_pod_that_a_finalizer_keeps_is_deleted_by_force_once(grace: int, forced: bool) -> None:
    """The kubelet, silent, ends none that was deleted gracefully."""
    world = started()
    world.pod_node_lost, world.now = NOW, NOW + 300
    assert world.pod is not None
    world.pod["metadata"] |= {"deletionTimestamp": timestamp(NOW), "deletionGracePeriodSeconds": grace}
    assert any(isinstance(action, Delete) for action in world.plan().actions) == forced


@pytest.mark.parametrize("code", [0, 1])
def test_a_server_that_misses_its_end_is_asked_nothing_of_its_exit_code(code: int) -> None:
    """The outcome is in /status alone: an exit code carries no reason, and its pod is started again to tell it."""
    world = started()
    world.ends(code)
    world.settle()
    assert not world.has("Complete")
    assert not world.has("Failed")
    assert world.replicas == 1


def test_a_server_that_refuses_its_settings_three_times_fails_the_job_with_its_own_words() -> None:
    world = started()
    world.ends(2, "noise\numbel: spec.model.initial: no such file\n", restarts=1)
    world.settle()
    assert not world.has("Failed")
    world.ends(2, "noise\numbel: spec.model.initial: no such file\n", restarts=2)
    world.settle()
    assert world.said("Failed") == ("True", "ServerMisconfigured")
    assert world.condition("Failed")["message"] == "spec.model.initial: no such file"
    assert world.replicas == 0
    assert set(world.desired().values()) == {"Finished"}
