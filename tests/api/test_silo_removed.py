"""A silo is suspended, or removed: its agent is told, and nothing of it is left at the hub. Over a real API server."""

from __future__ import annotations

import json
import urllib.request

import pytest
from umbel_cluster.processes import free_port
from umbel_cluster.tools import ClusterError

from umbel_operator.agent.join import Membership, Removed

from .hub import manifest, until
from .joining import Agent, Hub, joined, renewed, running

pytestmark = pytest.mark.api


def test_suspend_and_resume(hub: Hub, silo: str) -> None:
    hub.invite(silo)
    hub.umbel("silo", "suspend", silo)
    until(lambda: hub.condition(silo, "Ready").get("reason") == "Suspended", "suspended")
    row = next(line for line in hub.umbel("silo", "list").splitlines() if line.startswith(silo))
    assert row.split()[1] == "Suspended"
    hub.umbel("silo", "resume", silo)
    until(lambda: hub.condition(silo, "Ready").get("reason") == "Invited", "resumed")
    for word in ("suspend", "resume", "remove"):
        assert "has no silo 'nobody'" in hub.umbel("silo", word, "nobody", fails=True)


def test_a_removed_silo_is_told_and_nothing_is_left(hub: Hub, silo: str, agent: Agent) -> None:
    job = "removed"
    bundle = hub.invite(silo)
    agent.join(bundle)
    membership = Membership(**agent.membership)
    old = agent.kubeconfig()
    with running(agent):
        until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
        body = manifest(job, [silo, "never-1", "never-2"])
        body["spec"]["app"]["image"] = f"registry.example.org/acme/digits@sha256:{'0' * 64}"
        hub.api.kubectl("apply", "-f", "-", input=json.dumps(body))
        try:
            clients = agent.state / "clients"
            until(lambda: clients.exists() and any(clients.iterdir()), "a client's key", told=agent.log)
            hub.umbel("silo", "remove", silo)
            assert not hub.api.kubectl("get", "fc", "-n", f"umbel-silo-{silo}", "-o", "name")
            assert not hub.api.kubectl("get", "silo,ns", silo, f"umbel-silo-{silo}", "--ignore-not-found")
            until(agent.ended, "the agent stops", told=agent.log)
        finally:
            hub.api.kubectl("delete", "fj", job, "--timeout=60s")
    assert "the hub has removed this silo" in agent.log()
    assert not any(clients.iterdir()), "its client is gone"
    assert agent.membership["removed"]
    assert not agent.membership["key"]
    assert "silo was removed from the hub" in agent.join(bundle, fails=True).replace(f"silo {silo}", "silo")
    with pytest.raises(Removed, match="was removed from the hub"):
        renewed(membership)
    unauthorised = ["get", "fc", "-n", f"umbel-silo-{silo}", "--kubeconfig", str(old)]

    def refused() -> bool:
        try:
            hub.api.kubectl(*unauthorised)
        except ClusterError as error:
            return "nauthorized" in str(error) or "logged in" in str(error.stderr)
        return False

    until(refused, "its token has ended")
    agent.join(hub.invite(silo))
    assert agent.membership["key"] != membership.key


def test_an_agent_in_a_pod_stays_when_its_silo_was_removed_and_joins_anew(hub: Hub, silo: str, agent: Agent) -> None:
    """It would only be started again. It has the same file for every bundle, as from a Secret."""
    cluster, port = hub.api.kubeconfig, free_port()
    hub.api.kubectl("create", "namespace", silo)
    bundle = hub.invite(silo)
    said = "nothing is done for a hub: the silo is no member"

    def well() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
            return bool(answer.status == 200)

    def start() -> None:
        agent.start_as_in_a_pod(cluster, bundle, "--http", f"127.0.0.1:{port}")

    start()
    until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
    hub.umbel("silo", "remove", silo)
    until(lambda: said in agent.log(), "told", told=agent.log)
    assert "this bundle was used; ask for a new one" in agent.log()
    assert well()
    agent.stop()
    start()
    until(lambda: agent.log().count(said) == 2, "told by the next one too", told=agent.log)
    assert well()
    hub.invite(silo)
    until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive again", told=agent.log)
    assert agent.log().count(said) == 2, "at every look"


def test_who_was_invited_anew_shuts_out_the_agent_before(hub: Hub, silo: str) -> None:
    first = joined(hub.invite(silo))
    second = joined(hub.invite(silo))
    with pytest.raises(Removed, match="another agent has joined in its place"):
        renewed(first)
    assert renewed(second).joined
