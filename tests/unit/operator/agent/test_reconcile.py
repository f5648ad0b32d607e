"""What an agent makes of a FederatedClient: from the first sight of it to nothing left."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.agent.silo import NAME, NOW, RUNNING, UID, World, ended, pod, site_file

from umbel_operator.agent import federatedclient, identity
from umbel_operator.agent.backends.kubernetes.actions import Apply
from umbel_operator.agent.reconcile import troubled
from umbel_operator.conditions import Condition

ALL = ["Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Secret"]
FINAL = json.dumps({"final": 30})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def running(world: World) -> World:
    world.settle()
    world.sign()
    world.settle()
    world.pods = [pod(state=RUNNING)]
    world.settle()
    return world


def test_first_it_makes_a_key_and_asks_for_a_certificate(world: World) -> None:
    world.settle()
    assert world.kinds() == ["Secret"]
    assert set(world.one("Secret")["data"]) == {"tls.key"}
    assert "REQUEST" in world.fc["status"]["certificateRequest"]
    assert "PRIVATE" not in json.dumps(world.fc)
    assert world.said("Accepted") == ("True", "PolicyAllows")
    assert world.said("Ready") == ("False", "WaitingForCertificate")
    assert world.said("Finished") == ("False", "NotYet")
    assert "finalModel" not in world.fc["status"]


def test_with_a_certificate_it_runs_the_client(world: World) -> None:
    world.settle()
    world.sign()
    world.settle()
    assert world.kinds() == ALL
    assert set(world.one("Secret")["data"]) == {"tls.key", "tls.crt", "ca.crt"}
    assert world.replicas == 1
    assert world.said("Ready") == ("False", "Pending")
    world.pods = [pod(state=RUNNING)]
    world.settle()
    assert world.said("Ready") == ("True", "Running")


def test_it_waits_for_a_server_that_can_be_reached(world: World) -> None:
    server = world.fc["spec"]["server"]
    world.change(server=None)
    world.settle()
    world.sign()
    world.settle()
    assert world.kinds() == ["Secret"]
    assert world.said("Ready") == ("False", "WaitingForServer")
    world.change(server=server)
    world.settle()
    assert world.kinds() == ALL


def test_a_server_that_is_away_for_a_while_stops_nothing(running: World) -> None:
    before = copy.deepcopy(running.one("Deployment"))
    running.change(server=None)
    running.settle()
    assert running.one("Deployment") == before
    running.change(desiredState="Suspended")
    running.settle()
    assert running.replicas == 0


@pytest.mark.parametrize(
    "uri",
    ["spiffe://umbel.local/silo/hospital-b", "spiffe://elsewhere/silo/hospital-a", "spiffe://umbel.local/hub/operator"],
)
def test_a_certificate_for_somebody_else_is_not_used(world: World, uri: str) -> None:
    world.settle()
    world.sign(uri=uri)
    world.settle()
    assert world.kinds() == ["Secret"]
    assert set(world.one("Secret")["data"]) == {"tls.key"}
    assert world.said("Ready") == ("False", "CertificateNotUsable")


def test_a_certificate_by_another_authority_is_not_used(world: World, tmp_path: Path) -> None:
    world.settle()
    world.sign()
    other = World(tmp_path / "other")
    world.change(authorities=other.authority.bundle.decode())
    world.settle()
    assert world.said("Ready") == ("False", "CertificateNotUsable")


def test_a_certificate_for_another_key_is_not_used(world: World) -> None:
    world.settle()
    own = world.fc["status"]["certificateRequest"]
    world.fc["status"]["certificateRequest"] = identity.request(
        identity.load_key(identity.new_key()), "", "", world.now
    )
    world.sign()
    world.settle()
    assert world.said("Ready") == ("False", "CertificateNotUsable")
    key = x509.load_pem_x509_csr(own.encode()).public_key()
    assert x509.load_pem_x509_csr(world.fc["status"]["certificateRequest"].encode()).public_key() == key


def test_at_two_thirds_of_its_life_another_certificate_is_asked_for_once(running: World) -> None:
    first = running.fc["status"]["certificateRequest"]
    running.now = NOW + 15 * 3600
    assert running.settle() == 0
    running.now = NOW + 17 * 3600
    template = copy.deepcopy(running.one("Deployment"))
    assert running.settle() == 1
    second = running.fc["status"]["certificateRequest"]
    assert second != first
    running.sign()
    crt = running.one("Secret")["data"]["tls.crt"]
    key = running.one("Secret")["data"]["tls.key"]
    running.settle()
    assert running.fc["status"]["certificateRequest"] == second
    assert running.one("Secret")["data"]["tls.crt"] != crt
    assert running.one("Secret")["data"]["tls.key"] == key
    assert running.one("Deployment") == template


def test_a_plan_says_when_the_certificate_will_be_due(running: World) -> None:
    again = running.plan().again
    assert again is not None
    assert 15 * 3600 < again < 17 * 3600


def test_suspended_it_has_no_pod_and_resumed_it_has_one_again(running: World) -> None:
    running.change(desiredState="Suspended")
    running.settle()
    assert running.replicas == 0
    assert running.said("Ready") == ("False", "Suspended")
    assert running.kinds() == ALL
    running.pods = []
    running.change(desiredState="Running")
    running.settle()
    assert running.replicas == 1


def test_resumed_with_an_outdated_certificate_it_waits_for_the_next(running: World) -> None:
    running.change(desiredState="Suspended")
    running.settle()
    running.now = NOW + 3 * 86_400
    running.change(desiredState="Running")
    running.settle()
    assert running.replicas == 0
    assert running.said("Ready") == ("False", "CertificateNotUsable")
    running.sign()
    running.settle()
    assert running.replicas == 1


def test_the_pod_is_there_until_the_hub_has_heard_of_the_final_model(running: World) -> None:
    running.change(desiredState="Finished")
    running.settle()
    assert running.replicas == 1
    running.pods = [pod(state=RUNNING, last=ended(0, FINAL, "Completed"))]
    plan = running.one_pass()
    assert plan.status is not None
    assert running.replicas == 1
    running.settle()
    assert running.replicas == 0
    assert running.said("Finished") == ("True", "ModelKept")
    assert running.said("Ready") == ("False", "Finished")
    running.pods = []
    running.settle()
    assert running.fc["status"]["finalModel"] == {"round": 30}
    assert running.said("Finished") == ("True", "ModelKept")


def test_a_client_without_the_final_model_is_given_a_minute(running: World) -> None:
    running.change(desiredState="Finished")
    running.settle()
    running.now = NOW + 59
    assert running.settle() == 0
    assert running.plan().again == pytest.approx(1)
    running.now = NOW + 60
    running.settle()
    assert running.replicas == 0
    assert running.said("Finished") == ("False", "NoModel")
    running.finished_since = None  # another agent
    running.now = NOW + 100
    assert running.settle() == 0


def test_a_silo_that_first_hears_of_a_job_at_its_end_makes_nothing(world: World) -> None:
    world.change(desiredState="Finished")
    world.settle()
    assert world.kinds() == []
    assert world.said("Finished") == ("False", "NoModel")


def test_a_final_model_of_another_job_or_a_crash_is_none(running: World) -> None:
    running.change(desiredState="Finished")
    for other in (
        pod(uid="another", last=ended(0, FINAL)),
        pod(last=ended(1, FINAL)),
        pod(last=ended(0, "no json")),
        pod(last=ended(0, '{"final": "user text"}')),
    ):
        running.pods = [other]
        running.settle()
        assert running.said("Finished") == ("False", "NotYet")


def test_refused_by_the_policy_nothing_runs_and_the_state_stays(running: World) -> None:
    running.site = site_file(policy={"images": ["registry.example.org/other/*"]})
    running.one_pass()
    assert running.kinds() == ["NetworkPolicy", "PersistentVolumeClaim"]
    running.pods = []
    running.settle()
    assert running.kinds() == ["PersistentVolumeClaim"]
    assert running.said("Accepted") == ("False", "ImageNotAllowed")
    assert running.said("Ready") == ("False", "ImageNotAllowed")
    assert "certificateRequest" not in running.fc["status"]


def test_a_network_policy_outlives_the_last_pod(running: World) -> None:
    running.gone = True
    running.one_pass()
    assert running.kinds() == ["NetworkPolicy", "PersistentVolumeClaim"]
    running.pods = []
    running.settle()
    assert running.kinds() == ["PersistentVolumeClaim"]


@pytest.mark.parametrize("retain", [True, False])
def test_when_it_is_gone_only_the_state_is_left_if_the_site_says_so(running: World, retain: bool) -> None:
    running.site = site_file(retainState=retain)
    running.gone, running.pods = True, []
    running.settle()
    assert running.kinds() == (["PersistentVolumeClaim"] if retain else [])
    assert running.plan().again is None
    if retain:
        assert running.one("PersistentVolumeClaim")["metadata"]["labels"]["umbel.dev/retained"] == "true"


def test_one_that_comes_back_finds_its_state(running: World) -> None:
    running.gone, running.pods = True, []
    running.settle()
    running.gone, running.fc["status"] = False, {}
    running.settle()
    running.sign()
    running.settle()
    assert "umbel.dev/retained" not in running.one("PersistentVolumeClaim")["metadata"]["labels"]


def test_a_new_job_of_the_same_name_has_a_key_and_a_state_of_its_own(running: World) -> None:
    before = running.one("PersistentVolumeClaim")["metadata"]["name"]
    running.change(job={"name": "digits", "namespace": "default", "uid": "ffffffff-0000"}, certificate=None)
    running.fc["status"], running.pods = {}, []
    running.settle()
    assert running.kinds() == ["NetworkPolicy", "PersistentVolumeClaim", "Secret"]
    assert set(running.one("Secret")["data"]) == {"tls.key"}
    running.sign()
    running.settle()
    names = {name for kind, name in running.objects if kind == "PersistentVolumeClaim"}
    assert names == {before, f"{NAME}-ffffffff"}
    assert running.objects["PersistentVolumeClaim", before]["metadata"]["labels"]["umbel.dev/retained"] == "true"


def test_a_deployment_that_was_scaled_by_hand_is_set_right(running: World) -> None:
    running.one("Deployment")["spec"]["replicas"] = 3
    running.settle()
    assert running.replicas == 1


def test_a_secret_whose_certificate_was_removed_gets_it_again(running: World) -> None:
    del running.one("Secret")["data"]["tls.crt"]
    running.settle()
    assert "tls.crt" in running.one("Secret")["data"]


def test_a_deployment_that_is_being_deleted_is_waited_for(running: World) -> None:
    running.one("Deployment")["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    plan = running.plan()
    assert not [a for a in plan.actions if isinstance(a, Apply) and a.obj["kind"] == "Deployment"]
    assert plan.again is not None
    assert plan.again <= 2


def test_trouble_is_said_and_leaves_the_rest_as_it_was(running: World) -> None:
    read = federatedclient.read(running.fc)
    plan = troubled(read, Condition("Ready", "Unknown", "SiloUnreachable", "the silo's cluster does not answer"), NOW)
    assert plan.status is not None
    running.fc["status"] = plan.status
    assert running.said("Ready") == ("Unknown", "SiloUnreachable")
    assert running.said("Accepted") == ("True", "PolicyAllows")
    assert "certificateRequest" in plan.status
    running.settle()
    assert running.said("Ready") == ("True", "Running")


def test_a_time_of_transition_stays_while_the_status_does(running: World) -> None:
    def since() -> str:
        return str(next(c for c in running.fc["status"]["conditions"] if c["type"] == "Ready")["lastTransitionTime"])

    before = since()
    running.now += 60
    running.change(privacy={"minCohort": 4, "minExamples": 11})
    running.settle()
    assert since() == before
    running.pods = []
    running.settle()
    assert since() != before


EDITS = st.lists(
    st.one_of(
        st.sampled_from(["Running", "Suspended", "Finished"]).map(lambda state: ("desiredState", state)),
        st.sampled_from([None, {"url": "grpcs://h:30443", "name": "digits.default.umbel.internal"}]).map(
            lambda server: ("server", server)
        ),
        st.sampled_from(["registry.example.org/acme/ct:2", "evil.example.org/x"]).map(
            lambda image: ("app", {"image": image, "client": "ct.client:app"})
        ),
        st.sampled_from(["sign", "pod", "no pod", "final", "later", "scale", "lose the secret"]).map(
            lambda w: (w, None)
        ),
    ),
    max_size=8,
)


def do(world: World, edit: tuple[str, object]) -> None:
    what, value = edit
    match what:
        case "sign":
            if world.fc["status"].get("certificateRequest"):
                world.sign()
        case "pod":
            world.pods = [pod(state=RUNNING)]
        case "no pod":
            world.pods = []
        case "final":
            world.pods = [pod(state=RUNNING, last=ended(0, FINAL))]
        case "later":
            world.now += 7 * 3600
        case "scale":
            for (kind, _), obj in world.objects.items():
                if kind == "Deployment":
                    obj["spec"] = {**obj["spec"], "replicas": 7}
        case "lose the secret":
            world.objects = {key: obj for key, obj in world.objects.items() if key[0] != "Secret"}
        case _:
            world.change(**{what: value})


@settings(max_examples=60)
@given(EDITS, st.booleans())
def test_whatever_happens_the_passes_come_to_rest_and_then_write_nothing(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, object]], settled: bool
) -> None:
    world = World(tmp_path_factory.mktemp("ca"))
    for edit in edits:
        do(world, edit)
        world.settle() if settled else world.one_pass()
        running = [o for (kind, _), o in world.objects.items() if kind == "Deployment" and o["spec"]["replicas"]]
        assert not (running and world.fc["spec"]["app"]["image"].startswith("evil"))
    world.settle()
    assert not world.plan().writes
    assert world.plan() == world.plan()


@settings(max_examples=40)
@given(EDITS, st.permutations(range(8)))
def test_what_is_there_in_the_end_does_not_depend_on_what_was_seen_between(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, object]], order: list[int]
) -> None:
    """Two silos, one that saw every edit and one that saw only some of the passes between, end alike."""
    ends = []
    for looks in (range(8), order[: len(order) // 2]):
        world = World(tmp_path_factory.mktemp("ca"))
        world.settle()
        world.sign()
        for number, edit in enumerate(edits):
            if edit[0] in ("sign", "final", "later", "lose the secret"):
                continue  # these leave a trace by being seen: a model that was kept, a certificate, a key
            do(world, edit)
            if number in looks:
                world.one_pass()
        world.change(desiredState="Running", server={"url": "grpcs://h:8443", "name": "d"})
        world.change(app={"image": "registry.example.org/acme/ct:3", "client": "ct.client:app"})
        world.pods = []
        world.settle()
        world.sign()
        world.settle()
        ends.append({key: _spec(obj) for key, obj in world.objects.items()})
    assert ends[0] == ends[1]
    assert {kind for kind, _ in ends[0]} == set(ALL)


def _spec(obj: dict[str, object]) -> object:
    return obj.get("spec") or sorted(obj["data"])  # type: ignore[arg-type]


def test_every_object_carries_the_labels_by_which_it_is_found(running: World) -> None:
    for obj in running.objects.values():
        labels = obj["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "umbel"
        assert labels["umbel.dev/client"] == NAME
        assert labels["umbel.dev/silo"] == "hospital-a"
        assert labels["umbel.dev/job-uid"] == UID
