"""Before a hub is removed: what goes, what stays, and in which order."""

from __future__ import annotations

import pytest
from unit.operator.api_fake import Api

from umbel_operator import names
from umbel_operator.hub import uninstall
from umbel_operator.hub.uninstall import STOP_SECONDS, Uninstall
from umbel_operator.kube import ApiError

SYSTEM = "umbel-system"
OTHER = "example.org/somebody-else"
SERVER = {names.MANAGED_BY: "umbel", names.JOB_UID: "u1"}
TIME = 100.0


class Hub(Api):
    """An operator, a job of two silos with its server, and the controllers that see to them."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.operator_works = True
        self.pod_stops = True
        self.servers_stop = True
        self.put("Deployment", "umbel-operator", SYSTEM, spec={"replicas": 1}, status={"readyReplicas": 1})
        self.put("Pod", "operator", SYSTEM, labels={"app": "operator"})
        self.put("Pod", "another", SYSTEM, labels={"app": "another"})
        self.put("FederatedJob", "digits", "default", meta={"finalizers": [names.FINALIZER, OTHER]})
        self.put("FederatedJob", "idle", "default", meta={"finalizers": []})
        for name, labels in (("digits-server", SERVER), ("database", {"app": "database"})):
            stamp = {"annotations": {names.DIGEST: "d"}}
            self.put(
                "StatefulSet", name, "default", labels=labels, meta=stamp, spec={"replicas": 1}, status={"replicas": 1}
            )
        for silo in ("a", "b"):
            self.put("Silo", silo)
            mine = {names.MANAGED_BY: "umbel", names.SILO: silo}
            self.put("Namespace", f"umbel-silo-{silo}", labels=mine)
        for kind, name in (("Secret", "umbel-ca"), ("Lease", "umbel-operator"), ("ConfigMap", "umbel-join")):
            self.put(kind, name, SYSTEM)
        self.clock.meanwhile = self.reconcile

    def reconcile(self) -> None:
        if self.pod_stops and self.one("Deployment", "umbel-operator")["spec"]["replicas"] == 0:
            self.gone("Pod", "operator")
        if self.operator_works and "operator" in self.names("Pod"):
            for name in self.names("FederatedJob"):
                if "deletionTimestamp" in self.one("FederatedJob", name)["metadata"]:
                    self.gone("FederatedJob", name)
        for name in self.names("StatefulSet") if self.servers_stop else ():
            server = self.one("StatefulSet", name)
            server["status"]["replicas"] = server["spec"]["replicas"]
        for name in self.names("Namespace"):
            if name.removeprefix("umbel-silo-") not in self.names("Silo"):
                self.gone("Namespace", name)

    def steps(self) -> Uninstall:
        return Uninstall(self, SYSTEM, "umbel-operator", {"app": "operator"}, TIME, self.said.append)  # type: ignore[arg-type]

    def finalizers(self, job: str) -> list[str]:
        return list(self.one("FederatedJob", job)["metadata"]["finalizers"])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    for module in ("asyncio", "time"):
        monkeypatch.setattr(uninstall, module, made.clock)
    return made


async def test_keeping_stops_the_operator_then_servers_then_lets_jobs_go(hub: Hub) -> None:
    await hub.steps().keeping()
    assert hub.calls == [
        "patch Deployment/umbel-operator",
        "patch StatefulSet/digits-server",
        "patch FederatedJob/digits",
        "delete Lease/umbel-operator",
        "delete ConfigMap/umbel-join",
    ]
    assert hub.finalizers("digits") == [OTHER], "of others nothing is taken off"
    assert names.DIGEST not in hub.one("StatefulSet", "digits-server")["metadata"]["annotations"]
    assert hub.one("StatefulSet", "database")["spec"]["replicas"] == 1, "not a server of a job"
    assert set(hub.names("Silo")) == {"a", "b"}
    assert "umbel-ca" in hub.names("Secret")
    assert hub.said == [
        "the operator has stopped",
        "1 servers stopped; their jobs go on when a hub is installed again",
        "no job waits for the operator any more",
    ]


async def test_servers_that_do_not_stop_are_given_up(hub: Hub) -> None:
    hub.servers_stop = False
    await hub.steps().keeping()
    assert "gave up waiting for 1 servers" in hub.said
    assert hub.finalizers("digits") == [OTHER]


async def test_removing_deletes_jobs_while_the_operator_lives_then_silos_then_the_authority(hub: Hub) -> None:
    hub.one("FederatedJob", "digits")["metadata"]["finalizers"] = [names.FINALIZER]
    await hub.steps().removing()
    assert not hub.names("FederatedJob")
    assert not hub.names("Silo")
    assert not hub.names("Namespace")
    assert not hub.names("Secret")
    assert hub.said[0] == "2 jobs deleted"
    assert hub.calls.index("delete FederatedJob/digits") < hub.calls.index("patch Deployment/umbel-operator")
    assert not [call for call in hub.calls if call == "patch FederatedJob/digits"], "its own operator let it go"


@pytest.mark.parametrize("ready", [True, False])
async def test_an_operator_that_does_nothing_holds_nothing_up(hub: Hub, ready: bool) -> None:
    """One that is ready is waited for, and then done without; one that is not is not even waited for."""
    hub.operator_works = False
    hub.one("Deployment", "umbel-operator")["status"] = {"readyReplicas": 1} if ready else {}
    hub.one("FederatedJob", "digits")["metadata"]["finalizers"] = [names.FINALIZER]
    began = hub.clock.now
    await hub.steps().removing()
    assert not hub.names("FederatedJob")
    assert ("gave up waiting for 1 jobs" in hub.said) == ready
    assert (hub.clock.now - began > TIME) == ready


async def test_an_operators_pod_that_stays_ends_it(hub: Hub) -> None:
    hub.pod_stops = False
    with pytest.raises(TimeoutError, match="the operator's pod is still there"):
        await hub.steps().keeping()
    assert hub.finalizers("digits") == [names.FINALIZER, OTHER], "what a living operator would put back is left"


async def test_the_operators_pod_has_time_to_stop_whatever_was_waited_for_before(hub: Hub) -> None:
    hub.operator_works = False
    usual, stopped_at = hub.reconcile, hub.clock.now + TIME + STOP_SECONDS / 2

    def slow() -> None:
        hub.pod_stops = hub.clock.now >= stopped_at
        usual()

    hub.clock.meanwhile = slow
    await hub.steps().removing()
    assert "the operator has stopped" in hub.said


async def test_a_finalizer_that_is_added_meanwhile_is_not_lost(hub: Hub) -> None:
    """The job changes between being read and being written, once."""
    late = "example.org/late"
    list_, waiting = hub.list, [late]

    async def changing(*args: object, **more: object) -> object:
        found = await list_(*args, **more)  # type: ignore[arg-type]
        if waiting and args[0].kind == "FederatedJob":  # type: ignore[attr-defined]
            job = hub.one("FederatedJob", "digits")
            meta = {**job["metadata"], "finalizers": [*job["metadata"]["finalizers"], waiting.pop()]}
            hub.put("FederatedJob", "digits", "default", meta=meta)
        return found

    hub.list = changing  # type: ignore[method-assign, assignment]
    await hub.steps().keeping()
    assert hub.finalizers("digits") == [OTHER, late]
    assert hub.said.count("no job waits for the operator any more") == 1


async def test_without_the_kinds_there_is_nothing_to_remove_and_no_fault(hub: Hub) -> None:
    hub.absent = {"FederatedJob", "Silo"}
    for name in ("a", "b"):
        hub.gone("Silo", name)
    await hub.steps().removing()
    assert hub.said[0] == "0 jobs deleted"
    assert "0 silos deleted" in hub.said


async def test_it_may_be_repeated(hub: Hub) -> None:
    await hub.steps().keeping()
    hub.gone("Deployment", "umbel-operator")
    hub.clock.meanwhile = lambda: None
    await hub.steps().keeping()


async def test_another_refusal_is_not_swallowed(hub: Hub) -> None:
    async def forbidden(*_: object, **__: object) -> object:
        raise ApiError(403, "Forbidden", "no")

    hub.list = forbidden  # type: ignore[method-assign, assignment]
    with pytest.raises(ApiError, match="403"):
        await hub.steps().removing()
