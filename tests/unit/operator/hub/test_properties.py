"""Whatever is seen, and in whatever order: passes come to rest, and end alike."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.hub.world import NOW, SILOS, World, federated_job, record

from umbel_operator.hub.plan import SetStatus

SILO_FACTS: dict[str, dict[str, Any]] = {
    "ready": {"alive": True},
    "silent": {"alive": False},
    "never seen": {"alive": None},
    "suspended": {"suspended": True},
    "elsewhere": {"allowed_namespaces": ("research",)},
}
FACTS = st.sampled_from([*SILO_FACTS, "missing", "refusing"])
EVENTS = st.one_of(
    st.tuples(st.just("silo"), st.sampled_from(SILOS), FACTS),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("serve"), st.sampled_from(["Gathering", "Training", "Releasing"]), st.integers(0, 2)),
    st.tuples(st.just("restart"), st.integers(2, 9)),
    st.tuples(st.just("away")),
    st.tuples(st.just("forget")),
    st.tuples(st.just("lose"), st.sampled_from(["Service", "ConfigMap", "StatefulSet", "Secret", "NetworkPolicy"])),
    st.tuples(st.just("fewer")),
)
END = st.tuples(st.just("end"), st.sampled_from(["Complete", "Failed"]))


def happen(world: World, event: tuple[Any, ...]) -> None:
    match event:
        case ("silo", name, facts):
            become(world, name, facts)
        case ("suspend", flag):
            world.change(suspend=flag)
        case ("serve", phase, rounds):
            world.serve(phase, rounds)
        case ("restart", epoch):
            world.serve("Training", 1, epoch=epoch)
        case ("end", phase):
            world.serve(phase, 2)
        case ("away",):
            world.server = None
        case ("forget",):
            world.applied, world.told = {}, None
        case ("lose", kind):
            world.objects.pop((kind, "default", "digits-server"), None)
        case ("fewer",):
            world.change(silos=world.obj["spec"]["silos"][:3])


def become(world: World, name: str, facts: str) -> None:
    fresh = World().silos[name]
    world.refusing.discard(name)
    world.silos[name] = fresh
    if facts == "missing":
        del world.silos[name]
    elif facts == "refusing":
        world.refusing.add(name)
    else:
        world.silo(name, **SILO_FACTS[facts])


@settings(max_examples=60)
@given(st.lists(st.one_of(EVENTS, END), max_size=8), st.booleans())
def test_the_passes_come_to_rest_and_then_want_nothing(events: list[tuple[Any, ...]], settled: bool) -> None:
    world = World()
    for event in events:
        happen(world, event)
        world.settle() if settled else world.one_pass()
    world.settle()
    assert world.plan() == world.plan()
    assert world.plan().actions == ()
    world.now += 1
    assert not [a for a in world.plan().actions if isinstance(a, SetStatus)]


@settings(max_examples=40)
@given(st.lists(EVENTS, max_size=8), st.sets(st.integers(0, 7)))
def test_what_is_there_in_the_end_does_not_depend_on_what_was_seen_between(
    events: list[tuple[Any, ...]], looks: set[int]
) -> None:
    """Two operators, one that saw everything and one that saw only some of it, and kept little of that, end alike."""
    ends = []
    for seen, little in ((set(range(8)), False), (looks, True)):
        world = World()
        world.keeps_little = little
        world.settle()
        for number, event in enumerate(events):
            happen(world, event)
            if number in seen:
                world.one_pass()
        for name in SILOS:
            become(world, name, "ready")
        world.obj = {**world.obj, "spec": federated_job()["spec"]}
        world.settle()
        world.serve("Training", 1)
        world.settle()
        ends.append((content(world.objects), content(world.clients), world.status["silos"], world.told))
    assert ends[0] == ends[1]
    assert len(ends[0][1]) == 4


def content(objects: dict[Any, Any]) -> dict[Any, Any]:
    return {index: {**obj, "status": None} for index, obj in copy.deepcopy(objects).items()}


@settings(max_examples=30)
@given(st.lists(EVENTS, max_size=6), st.sampled_from(["Complete", "Failed"]), st.lists(EVENTS, max_size=6))
def test_an_end_is_final(before: list[tuple[Any, ...]], end: str, after: list[tuple[Any, ...]]) -> None:
    world = World()
    for event in before:
        happen(world, event)
        world.settle()
    world.change(suspend=False)
    world.settle()
    world.serve(end, 2)
    world.settle()
    ended = world.condition(end), world.status["completionTime"]
    for event in after:
        happen(world, event)
        world.settle()
    world.now = NOW + 1000
    world.settle()
    kept = {**world.condition(end), "observedGeneration": 0}, world.status["completionTime"]
    assert kept == ({**ended[0], "observedGeneration": 0}, ended[1])
    assert set(world.desired().values()) <= {"Finished", "Suspended"}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(SILOS), FACTS), max_size=4), st.integers(0, 40))
def test_a_status_is_bounded_and_holds_nothing_of_one_silos_rounds(facts: list[tuple[str, str]], rounds: int) -> None:
    world = World()
    for name, fact in facts:
        become(world, name, fact)
    world.settle()
    told = [record(n, silos={"hospital-a": {"examples": 7}}, lostSilos=["hospital-b"]) for n in range(1, rounds + 1)]
    world.serve("Training", rounds, history=told, connectedSilos=list(SILOS))
    world.settle()
    status = world.status
    assert len(status.get("history", [])) == min(rounds, 20)
    elsewhere = {**status, "conditions": [c for c in status["conditions"] if c["type"] != "SilosReady"]}
    assert "hospital" not in json.dumps(elsewhere)
    for entry in status.get("history", []):
        assert all(isinstance(value, int) for value in entry["members"].values())
    assert all(len(c["message"]) <= 1024 for c in status["conditions"])
