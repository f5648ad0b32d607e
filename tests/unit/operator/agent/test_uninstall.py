"""Before an agent is removed: it stops first, then its clients go with all that was made for them."""

from __future__ import annotations

import pytest
from unit.operator.agent.silo import site_file
from unit.operator.api_fake import Api

from umbel_operator.agent import uninstall
from umbel_operator.agent.federatedclient import CLIENT, SILO

HERE = "clients"
RETAINED = "umbel.dev/retained"
TIME = 60.0


class Cluster(Api):
    """An agent, and a client of its silo and of another one, each with all that an agent makes."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.pods_stop = True
        self.put("Deployment", "agent", HERE, spec={"replicas": 1})
        self.put("Pod", "agent-1", HERE, labels={"app": "agent"})
        for silo, name in (("hospital-a", "digits-1"), ("hospital-b", "digits-2")):
            labels = {SILO: silo, CLIENT: name, "umbel.dev/job-uid": "u"}
            for kind in ("Deployment", "Secret", "NetworkPolicy", "PersistentVolumeClaim"):
                self.put(kind, name, HERE, labels=labels)
            self.put("Pod", f"{name}-pod", HERE, labels=labels)
            for document in ("requests", "answers"):
                mine = {SILO: silo, "umbel.dev/component": "approvals"}
                self.put("ConfigMap", f"umbel-{document}-{silo}", HERE, labels=mine)
        self.put("Secret", "umbel-hub", HERE)
        self.clock.meanwhile = self.controllers

    def controllers(self) -> None:
        if self.pods_stop:
            if self.one("Deployment", "agent")["spec"]["replicas"] == 0:
                self.gone("Pod", "agent-1")
            for name in self.names("Pod"):
                if name.removesuffix("-pod") not in self.names("Deployment") and name != "agent-1":
                    self.gone("Pod", name)

    async def stop(self) -> None:
        end = self.clock.now + TIME
        await uninstall.stop_agent(self, HERE, "agent", "app=agent", end)  # type: ignore[arg-type]

    async def remove(self, *, retain: bool = True) -> None:
        end = self.clock.now + TIME
        site = site_file(retainState=retain)
        await uninstall.remove_clients(self, HERE, site, end, self.said.append)  # type: ignore[arg-type]

    def of_client(self, name: str) -> list[str]:
        return [kind for kind, _, own in self.objects if own in (name, f"{name}-pod")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for module in ("asyncio", "time"):
        monkeypatch.setattr(uninstall, module, made.clock)
    return made


async def test_the_agent_is_scaled_to_nothing_and_waited_for(cluster: Cluster) -> None:
    await cluster.stop()
    assert cluster.one("Deployment", "agent")["spec"]["replicas"] == 0
    assert "agent-1" not in cluster.names("Pod")


async def test_an_agent_that_stays_ends_it(cluster: Cluster) -> None:
    cluster.pods_stop = False
    with pytest.raises(TimeoutError, match=r"the agent's pod \(app=agent\) is still there"):
        await cluster.stop()


async def test_nothing_is_left_of_a_client_but_the_state_that_is_retained(cluster: Cluster) -> None:
    await cluster.remove()
    assert cluster.of_client("digits-1") == ["PersistentVolumeClaim"]
    assert cluster.one("PersistentVolumeClaim", "digits-1")["metadata"]["labels"][RETAINED] == "true"
    assert len(cluster.of_client("digits-2")) == 5, "another silo's in the same namespace"
    assert cluster.said == ["1 clients removed"]


async def test_a_pod_that_is_ending_is_never_without_its_policy(cluster: Cluster) -> None:
    seen: list[tuple[bool, bool]] = []
    usual = cluster.controllers

    def watched() -> None:
        seen.append(("digits-1-pod" in cluster.names("Pod"), "digits-1" in cluster.names("NetworkPolicy")))
        usual()

    cluster.clock.meanwhile = watched
    await cluster.remove()
    assert (True, True) in seen
    assert (True, False) not in seen
    assert "digits-1" not in cluster.names("NetworkPolicy")


async def test_state_that_is_not_retained_goes_too(cluster: Cluster) -> None:
    await cluster.remove(retain=False)
    assert cluster.of_client("digits-1") == []


async def test_pods_that_stay_are_given_up_and_named(cluster: Cluster) -> None:
    cluster.pods_stop = False
    began = cluster.clock.now
    await cluster.remove()
    assert cluster.said == ["gave up waiting for 1 of 1 clients: digits-1"]
    assert cluster.clock.now - began > TIME
    assert set(cluster.of_client("digits-1")) == {"NetworkPolicy", "PersistentVolumeClaim", "Pod"}


async def test_it_may_be_repeated(cluster: Cluster) -> None:
    await cluster.remove()
    await cluster.remove()
    assert cluster.said == ["1 clients removed", "0 clients removed"]


@pytest.mark.parametrize("secret", ["umbel-hub", ""])
async def test_what_was_answered_and_the_access_to_the_hub_are_forgotten(cluster: Cluster, secret: str) -> None:
    await uninstall.forget(cluster, HERE, site_file(), secret)  # type: ignore[arg-type]
    assert set(cluster.names("ConfigMap")) == {"umbel-requests-hospital-b", "umbel-answers-hospital-b"}
    assert ("umbel-hub" in cluster.names("Secret")) == (not secret)
