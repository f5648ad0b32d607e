"""Which silos are in a job, which the server may let in, and how each is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from unit.operator.hub.world import SILOS, World, started

from umbel_operator import names
from umbel_operator.hub.observed import Silo
from umbel_operator.hub.plan import Delete, Tell

MISSING = "hospital-b"


def missing(world: World) -> None:
    del world.silos[MISSING]


def not_admitted(world: World) -> None:
    world.silo(MISSING, allowed_namespaces=("research",))


def suspended(world: World) -> None:
    world.silo(MISSING, suspended=True)


def refusing(world: World) -> None:
    world.refusing = {MISSING}


def silent(world: World) -> None:
    world.silo(MISSING, alive=False)


@pytest.mark.parametrize(
    ("happen", "message", "member", "desired"),
    [
        (missing, "hospital-b: NoSuchSilo (the hub has no Silo of that name)", False, None),
        (not_admitted, "hospital-b: NotAdmitted (it takes no jobs of namespace default)", False, None),
        (suspended, "hospital-b: SiloSuspended", False, "Suspended"),
        (refusing, "hospital-b: ImageNotAllowed", False, "Running"),
        (silent, "hospital-b: AgentSilent", True, "Running"),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_one_that_is_not_ready_is_named(
    running: bool, happen: Callable[[World], None], message: str, member: bool, desired: str | None
) -> None:
    world = started() if running else World()
    happen(world)
    world.settle()
    world.serve()
    world.settle()
    assert world.said("SilosReady") == ("False", "SomeNotReady")
    assert world.condition("SilosReady")["message"] == message
    assert world.status["silos"]["summary"] == "3/4"
    assert world.told is not None
    assert (MISSING in world.told.members) == member
    assert world.desired().get(MISSING) == desired
    assert len(world.told.members) == 3 + member


def test_one_that_has_not_reported_is_a_member_that_is_not_ready() -> None:
    world = World()
    world.settle(agents=False)
    assert world.status["silos"]["summary"] == "0/4"
    assert "hospital-a: NoReport" in world.condition("SilosReady")["message"]


def test_one_that_left_the_job_loses_its_federatedclient_and_its_membership() -> None:
    world = started(rounds={"total": 3, "updates": 3, "quorum": 3})
    name = next(n for n, client in world.clients.items() if client["spec"]["silo"] == "hospital-d")
    world.change(silos=world.obj["spec"]["silos"][:3])
    plan = world.plan()
    assert Delete("FederatedClient", "umbel-silo-hospital-d", name, f"uid of {name}") in plan.actions
    assert [a.told.members for a in plan.actions if isinstance(a, Tell)] == [frozenset(SILOS[:3])]
    world.settle()
    assert sorted(world.desired()) == sorted(SILOS[:3])


def test_what_is_computed_from_the_number_of_silos_follows_it() -> None:
    world = started(rounds={"total": 3})
    assert (world.told.updates, world.told.quorum) == (4, 3)
    more = [{"name": f"late-{n}", "dataset": "digits"} for n in range(4)]
    world.change(silos=[*world.obj["spec"]["silos"], *more])
    world.settle()
    assert (world.told.updates, world.told.quorum) == (8, 6)


def test_one_that_is_being_deleted_already_is_let_go() -> None:
    world = started()
    for client in world.clients.values():
        if client["spec"]["silo"] == "hospital-d":
            client["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    world.change(silos=world.obj["spec"]["silos"][:3])
    assert not [a for a in world.plan().actions if isinstance(a, Delete)]


def test_twenty_are_named_and_the_rest_counted() -> None:
    many = [f"silo-{n:02}" for n in range(30)]
    world = World(silos=[{"name": name, "dataset": "digits"} for name in many])
    world.silos = {}
    world.settle()
    message = world.condition("SilosReady")["message"]
    assert message.count("NoSuchSilo") <= 20
    assert len(message) <= 1024


# ---- a selector


def selecting(**labels: str) -> World:
    world = World(silos=None, siloSelector={"matchLabels": labels or {"field": "ct"}, "dataset": "digits"})
    for name in SILOS[:3]:
        world.silo(name, labels={"field": "ct"})
    return world


def test_a_selector_takes_those_with_the_labels_and_the_data() -> None:
    world = selecting()
    world.settle()
    assert sorted(world.desired()) == sorted(SILOS[:3])


def test_too_few_are_waited_for() -> None:
    world = selecting()
    world.silo("hospital-a", datasets=("other",))
    world.settle()
    assert world.said("Progressing") == ("True", "TooFewSilos")
    assert world.condition("Progressing")["message"].startswith("spec.siloSelector matches 2 silos")
    assert world.objects == {}
    world.silo("hospital-a", datasets=("digits",))
    world.settle()
    assert world.replicas == 1


def test_a_selector_is_resolved_once() -> None:
    world = selecting()
    world.settle()
    world.silo("hospital-d", labels={"field": "ct"})
    world.silos["new"] = Silo("new", {"field": "ct"}, datasets=("digits",), alive=True)
    world.silo("hospital-a", labels={})
    assert world.plan().actions == ()


def test_a_selected_job_that_ended_stays_ended_without_its_manifest() -> None:
    world = selecting()
    world.settle()
    world.serve("Complete", 3)
    world.settle()
    world.ends(0)
    world.settle()
    del world.objects["ConfigMap", "default", "digits-server"]
    world.silos = {}
    world.settle()
    assert world.has("Complete")


def test_a_selecting_job_that_is_suspended_says_so() -> None:
    world = selecting(field="none")
    world.change(suspend=True)
    world.settle()
    assert world.said("Progressing") == ("True", "TooFewSilos")
    assert world.said("Suspended") == ("True", "Suspended")


def test_a_selecting_job_that_failed_stays_failed_when_its_spec_is_mended() -> None:
    world = selecting(field="none")
    world.change(rounds={"total": 3, "updates": 1, "quorum": 3})
    world.settle()
    assert world.said("Failed") == ("True", "InvalidSpec")
    world.change(rounds={"total": 3, "updates": 3, "quorum": 3})
    world.settle()
    assert world.has("Failed")


def test_a_wait_for_silos_does_not_use_up_the_deadline() -> None:
    world = selecting(field="pet")
    world.change(activeDeadlineSeconds=100)
    world.settle()
    world.now += 1000
    for name in SILOS:
        world.silo(name, labels={"field": "pet"})
    world.settle()
    assert not world.has("Failed")


def test_a_name_is_of_this_job_and_no_other() -> None:
    assert len({names.client("d", ns, job, silo) for ns in "ab" for job in "ab" for silo in "ab"}) == 8
    assert names.client("umbel.local", "default", "digits", "hospital-a").startswith("digits-")
