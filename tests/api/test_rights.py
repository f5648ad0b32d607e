"""The shipped roles grant what operator and agents call, and no more: with one verb less, something here fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from umbel_cluster import charts
from umbel_cluster.api import Api
from umbel_cluster.processes import free_port

from umbel_operator import access, silo_access
from umbel_operator.agent.credentials import HubCredentials, TokenStore

from . import rights
from .hub import UMBEL, Operator, gateways, install, manifest, until

pytestmark = pytest.mark.api

OPERATOR = "system:serviceaccount:umbel-system:umbel-operator"
SILOS = ["rights-1", "rights-2", "rights-3", "rights-4"]
PINNED = "registry.local/umbel-digits@sha256:" + "0" * 64
SITE = (f"--set=site.silo={SILOS[0]}", "--set=hub.existingSecret=any")


@pytest.fixture
def operator(api: Api, tmp_path: Path) -> Iterator[Operator]:
    """With the rights that it is shipped with."""
    gateways(api)
    install(api, SILOS)
    # Another test's operator has made it here with other rights.
    api.kubectl("delete", "lease", "-n", "umbel-system", "--all")
    join = f"127.0.0.1:{free_port()}"
    started = Operator(api.kubeconfig_for("umbel-system", "umbel-operator"), tmp_path, "--join", join)
    started.start()
    told = ("get", "cm", "umbel-join", "-n", "umbel-system", "--ignore-not-found", "-o", "yaml")
    until(lambda: join in api.kubectl(*told), "joining told", told=started.log)  # not what an operator before said
    yield started
    started.kill()


def test_the_operator_uses_every_right_that_it_has_and_lacks_none(api: Api, operator: Operator, tmp_path: Path) -> None:
    _joined(api, tmp_path)
    for life in (_deleted_with_its_model, _behind_a_gateway, _lost_with_its_node, _expired):
        life(api)
    _broken_while_nobody_looked(api, operator)
    granted = {right for role in _roles(charts.HUB) for right in rights.granted(role["rules"])}
    calls = list(api.calls(OPERATOR))
    used = rights.used(calls)
    assert not rights.refused(calls)
    assert rights.unused(granted, used) == []
    assert rights.too_wide(granted, used) == []


def test_an_agent_uses_every_right_that_it_has_and_lacks_none(api: Api, operator: Operator, tmp_path: Path) -> None:
    """The one API server is hub and silo at once."""
    api.kubectl("apply", "--server-side", "-f", "-", input=charts.account(charts.SILO, "umbel", *SITE))
    at_home, at_the_hub = (
        "system:serviceaccount:umbel:umbel-agent",
        "system:serviceaccount:umbel-silo-rights-1:umbel-agent",
    )
    site = {
        "silo": SILOS[0],
        "policy": {"images": ["*"]},
        "datasets": {"digits": {"volumeClaim": "scans"}},
        "retainState": False,
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    hub = api.kubeconfig_for("umbel-silo-rights-1", "umbel-agent")
    config = yaml.safe_load(hub.read_text())
    config["contexts"][0]["context"]["namespace"] = "umbel-silo-rights-1"
    hub.write_text(yaml.safe_dump(config))
    words = ["--site", tmp_path / "site.yaml", "--hub", hub, "--hub-secret", "hub", "--namespace", "umbel"]
    command = [UMBEL, "agent", "run", *words, "--kubeconfig", api.kubeconfig_for("umbel", "umbel-agent")]
    agent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _apply(api, manifest("agents", SILOS, app={"image": PINNED, "client": "client:app"}))
        where = ["--site", tmp_path / "site.yaml", "--kubeconfig", api.kubeconfig, "--namespace", "umbel"]
        (name,) = until(lambda: _waiting(where), "a request")
        assert not api.kubectl("get", "deploy,secret", "-n", "umbel", "-l", "umbel.dev/job=agents", "-o", "name")
        subprocess.run([UMBEL, "agent", "approve", name, *where], check=True, stdout=subprocess.DEVNULL)
        until(lambda: name in api.kubectl("get", "deploy", "-n", "umbel", "-o", "name"), "its Deployment")
        subprocess.run([UMBEL, "agent", "deny", name, *where], check=True, stdout=subprocess.DEVNULL)
        until(lambda: name not in api.kubectl("get", "deploy", "-n", "umbel", "-o", "name"), "its Deployment gone")
        subprocess.run([UMBEL, "agent", "approve", name, *where], check=True, stdout=subprocess.DEVNULL)
        until(lambda: name in api.kubectl("get", "deploy", "-n", "umbel", "-o", "name"), "its Deployment again")
        api.kubectl("delete", "fj", "agents", "--wait=false")
        kinds = "deploy,netpol,pvc,secret"
        left = lambda: api.kubectl("get", kinds, "-n", "umbel", "-l", "umbel.dev/job=agents", "-o", "name")  # noqa: E731
        until(lambda: not left(), "nothing left")
        asyncio.run(_renewed(hub))
    finally:
        agent.terminate()
        agent.wait(30)
    own = {right for role in _roles(charts.SILO, *SITE) for right in rights.granted(role["rules"])}
    # Only in the agents' own tests: a volume is labelled as retained, with a retained state, and a token is kept in
    # the silo, which takes half of its life.
    patched = ("", "persistentvolumeclaims", "patch", "")
    for user, granted, elsewhere in (
        (at_home, own, {patched, ("", "secrets", "patch", "")}),
        (at_the_hub, set(rights.granted([*silo_access.RULES, silo_access.RENEWING])), set()),
    ):
        calls = list(api.calls(user))
        used = rights.used(calls)
        assert not rights.refused(calls)
        assert rights.unused(granted - elsewhere, used) == [], user
        assert rights.too_wide(granted, used) == [], user


async def _renewed(hub: Path) -> None:
    """As a silo's that was added by hand, when half of its token's life is over: by itself, and the new one is good."""
    tokens = TokenStore(HubCredentials(hub))
    before = access.kubeconfig(hub)
    for _ in range(2):
        api = tokens.credentials.client()
        await tokens.renew(api, before.namespace)
        await api.close()
    assert access.kubeconfig(hub).token != before.token
    tokens.credentials.close()


# ---- lives


def _joined(api: Api, folder: Path) -> None:
    """Invited, joined, and joined again by another: which is told in an Event."""
    bundle = folder / "bundle.yaml"
    words = ["rights-5", "-o", bundle, "--kubeconfig", api.kubeconfig]
    subprocess.run([UMBEL, "silo", "invite", *words], check=True, stdout=subprocess.DEVNULL)
    for agent, code in (("first", 0), ("second", 1)):
        command = [UMBEL, "agent", "join", bundle, "--state-dir", folder / agent]
        done = subprocess.run(command, capture_output=True, text=True)
        assert bool(done.returncode) == bool(code), done.stderr
    subprocess.run([UMBEL, "silo", "remove", "rights-5", "--kubeconfig", api.kubeconfig], check=True)


def _deleted_with_its_model(api: Api) -> None:
    _apply(api, manifest("gone", SILOS, model={"retain": False}))
    until(lambda: _there(api, "sts", "gone-server") and len(_clients(api, "gone")) == len(SILOS), "made")
    api.kubectl("patch", "fj", "gone", "--type=merge", "-p", json.dumps({"spec": {"silos": _listed(SILOS[:3])}}))
    until(lambda: _clients(api, "gone") == set(SILOS[:3]), "a silo taken out")
    api.kubectl("delete", "fj", "gone", "--timeout=60s")
    until(lambda: not api.kubectl("get", "pvc", "-l", "umbel.dev/job=gone", "-o", "name"), "its model deleted")


def _behind_a_gateway(api: Api) -> None:
    expose = {"type": "Gateway", "gatewayRef": {"name": "edge"}}
    _apply(api, manifest("edged", SILOS, server={"expose": expose}))
    until(lambda: api.kubectl("get", "tlsroutes", "-o", "name"), "its route")
    api.kubectl("delete", "fj", "edged", "--timeout=60s")


def _lost_with_its_node(api: Api) -> None:
    _apply(api, manifest("lost", SILOS, server={"expose": {"type": "NodePort"}}))
    until(lambda: _there(api, "pod", "lost-server-0"), "its pod")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "silent"}}
    _apply(api, node)
    past = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": ""}
    conditions = [{**ready, "lastTransitionTime": past, "lastHeartbeatTime": past}]
    body = json.dumps({"status": {"conditions": conditions}})
    api.kubectl("patch", "node", "silent", "--subresource=status", "--type=merge", "-p", body)
    uid = api.kubectl("get", "pod", "lost-server-0", "-o", "jsonpath={.metadata.uid}")
    target = {"apiVersion": "v1", "kind": "Node", "name": "silent"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "lost-server-0"}, "target": target}
    path = "/api/v1/namespaces/default/pods/lost-server-0/binding"
    api.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(binding))
    same = ["get", "pod", "lost-server-0", "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"]
    until(
        lambda: api.kubectl(*same) != uid,
        "its pod deleted by force",
        told=lambda: api.kubectl("describe", "fj", "lost"),
    )
    api.kubectl("delete", "fj", "lost", "--timeout=60s")
    api.kubectl("delete", "node", "silent")


def _broken_while_nobody_looked(api: Api, operator: Operator) -> None:
    """The manifest that its server runs by is lost, and the newest is none: it cannot go on."""
    _apply(api, manifest("broken", SILOS))
    until(lambda: _there(api, "sts", "broken-server"), "made")
    operator.kill()
    api.kubectl("delete", "cm", "broken-server")
    api.kubectl("patch", "fj", "broken", "--type=merge", "-p", json.dumps({"spec": {"app": {"config": {"": 1}}}}))
    operator.start()
    until(lambda: not _there(api, "sts", "broken-server"), "its server removed")
    api.kubectl("delete", "fj", "broken", "--timeout=60s")


def _expired(api: Api) -> None:
    body = manifest(
        "expired", SILOS, ttlSecondsAfterFinished=1, app={"image": "x:y", "client": "a:b", "config": {"": 1}}
    )
    _apply(api, body)
    until(lambda: not api.kubectl("get", "fj", "expired", "--ignore-not-found"), "deleted after its time")


# ---- pieces


def _waiting(where: list[Any]) -> list[str]:
    told = subprocess.run([UMBEL, "agent", "pending", *where], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in told.splitlines()[1:]]


def _listed(silos: list[str]) -> list[dict[str, str]]:
    return [{"name": silo, "dataset": "digits"} for silo in silos]


def _apply(api: Api, body: dict[str, Any]) -> None:
    api.kubectl("apply", "-f", "-", input=json.dumps(body))


def _there(api: Api, kind: str, name: str) -> bool:
    return bool(api.kubectl("get", kind, name, "--ignore-not-found", "-o", "name"))


def _clients(api: Api, job: str) -> set[str]:
    found = json.loads(api.kubectl("get", "fc", "-A", "-l", f"umbel.dev/job={job}", "-o", "json"))["items"]
    return {item["spec"]["silo"] for item in found}


def _roles(chart: Path, *values: str) -> list[dict[str, Any]]:
    made = charts.rendered(chart, *values, "--show-only=templates/rbac.yaml")
    return [obj for obj in made if obj["kind"] in ("Role", "ClusterRole")]
