"""Tests and hooks of the charts on a real API server: what they may do, and what is left of one that fails."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api import rights
from umbel_cluster import api as _api
from umbel_cluster import charts
from umbel_cluster.tools import ClusterError

from umbel_operator import names
from umbel_operator.agent.federatedclient import CLIENT

from .conftest import ROOT
from .installed import HUB, SYSTEM, UMBEL

pytestmark = pytest.mark.api

Objects = list[dict[str, Any]]
WHERE = ("-n", SYSTEM)
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
HOOK_TIMED_OUT = r"(?s)uninstall not ready.*deadline exceeded"
INSTALL = (ROOT / "docs/install.md").read_text("utf-8")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_api.Api]:
    with _api.serving(tmp_path_factory.mktemp("api")) as serving:
        yield serving


@pytest.fixture
def hub(api: _api.Api) -> Iterator[_api.Api]:
    """With a hub in it, whose pods nothing runs."""
    helm(api, "install", HUB, charts.HUB, "--create-namespace")
    yield api
    helm(api, "uninstall", HUB, "--no-hooks", "--ignore-not-found")
    api.kubectl("delete", "pod,job", *WHERE, "-l", f"app.kubernetes.io/instance={HUB}")


def helm(api: _api.Api, *args: Any) -> str:
    return charts.helm(*args, *WHERE, kubeconfig=api.kubeconfig)


def asked(api: _api.Api, rights_of_hook: Objects, namespace: str, account: str, *command: str | Path) -> None:
    """As the hook's account, with the rights that the chart gives it: all are used, and none is lacked."""
    api.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rights_of_hook))
    user = f"system:serviceaccount:{namespace}:{account}"
    before = len(list(api.calls(user)))
    where = ["--namespace", namespace, "--kubeconfig", api.kubeconfig_for(namespace, account)]
    done = subprocess.run([UMBEL, *command, *where], capture_output=True, text=True, timeout=120)
    calls = list(api.calls(user))[before:]
    granted = {right for obj in rights_of_hook for right in rights.granted(obj.get("rules", ()))}
    assert not rights.refused(calls), done.stdout + done.stderr
    assert rights.unused(granted, rights.used(calls)) == []
    assert rights.too_wide(granted, rights.used(calls)) == []
    api.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(rights_of_hook))


def rights_in(chart: Path, template: str, *values: str, **where: str) -> Objects:
    return [
        o for o in charts.rendered(chart, f"--show-only=templates/{template}", *values, **where) if o["kind"] in RIGHTS
    ]


@pytest.mark.parametrize("keep", [True, False])
def test_the_uninstall_hook_uses_every_right_that_it_has(hub: _api.Api, keep: bool) -> None:
    job = yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())
    job["spec"]["app"]["image"] = "registry.example.org/digits:1"
    job["metadata"] |= {"namespace": "default", "finalizers": [names.FINALIZER]}
    labels = {names.MANAGED_BY: "umbel", names.JOB_UID: "0"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "none"}]}}
    spec = {"replicas": 0, "serviceName": "none", "selector": {"matchLabels": labels}, "template": pod}
    meta = {"name": "digits-server", "namespace": "default", "labels": labels}
    server = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}
    silo = {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "metadata": {"name": "hospital-a"}, "spec": {}}
    hub.kubectl("apply", "-f", "-", input=yaml.safe_dump_all([job, server, silo]))
    hook = rights_in(charts.HUB, "uninstall.yaml", f"--set=crds.keep={json.dumps(keep)}")
    command = ["hub", "uninstall", "--timeout=30", *(["--keep"] if keep else [])]
    asked(hub, hook, SYSTEM, "umbel-hub-uninstall", *command)
    assert bool(hub.kubectl("get", "fj,silo", "-A", "-o", "name")) == keep


def test_a_hub_whose_uninstallation_has_failed_is_brought_back(hub: _api.Api) -> None:
    """Its hook is played to where the operator has stopped; no pod runs here, and so the hook ends in time."""
    replicas = lambda: hub.kubectl("get", "deploy", "umbel-operator", *WHERE, "-o", "jsonpath={.spec.replicas}")  # noqa: E731
    command = [UMBEL, "hub", "uninstall", "--keep", "--timeout=30", "--namespace", SYSTEM]
    subprocess.run([*command, "--kubeconfig", hub.kubeconfig], check=True, timeout=120)
    with pytest.raises(ClusterError, match=HOOK_TIMED_OUT):
        helm(hub, "uninstall", HUB, "--timeout=1s")
    assert replicas() == "0"
    helm(hub, "rollback", HUB, "1")
    assert replicas() == "1"
    helm(hub, "upgrade", HUB, charts.HUB)


def test_a_silo_whose_uninstallation_has_failed_is_brought_back(api: _api.Api, tmp_path: Path) -> None:
    """As for the hub."""
    where = ("-n", "clinic")
    clinic = lambda *args: charts.helm(*args, *where, kubeconfig=api.kubeconfig)  # noqa: E731
    replicas = lambda: api.kubectl("get", "deploy", "clinic-agent", *where, "-o", "jsonpath={.spec.replicas}")  # noqa: E731
    values = ("--set=site.silo=clinic", "--set=hub.existingSecret=hub")
    site = tmp_path / "site.yaml"
    site.write_text("silo: clinic\n")
    given = [f"--site={site}", "--deployment=clinic-agent", "--pods=app.kubernetes.io/instance=clinic", "--timeout=30"]
    command = [UMBEL, "agent", "uninstall", *given, "--namespace=clinic", "--kubeconfig", api.kubeconfig]
    clinic("install", "clinic", charts.SILO, "--create-namespace", *values)
    try:
        subprocess.run(command, check=True, timeout=120)
        with pytest.raises(ClusterError, match=HOOK_TIMED_OUT):
            clinic("uninstall", "clinic", "--timeout=1s")
        assert replicas() == "0"
        clinic("rollback", "clinic", "1")
        assert replicas() == "1"
        clinic("upgrade", "clinic", charts.SILO, *values)
    finally:
        clinic("uninstall", "clinic", "--no-hooks")
        api.kubectl("delete", "pod,job", *where, "-l", "app.kubernetes.io/instance=clinic")


def test_the_test_uses_every_right_that_it_has(hub: _api.Api) -> None:
    asked(hub, rights_in(charts.HUB, "tests/hub.yaml"), SYSTEM, "umbel-hub-test", "hub", "check")


def test_the_silos_hook_uses_every_right_that_it_has_beyond_the_agents(api: _api.Api, tmp_path: Path) -> None:
    """Besides a client with its state, there is what the administrator was asked and has answered."""
    where, values = {"release": "ward", "namespace": "ward"}, ("--set=site.silo=ward", "--set=hub.existingSecret=hub")
    api.kubectl("apply", "-f", "-", input=charts.account(charts.SILO, "ward", *values, release="ward"))
    site = tmp_path / "site.yaml"
    site.write_text("silo: ward\nretainState: false\n")
    asks = {names.SILO: "ward", names.COMPONENT: "approvals"}
    of_client = {names.SILO: "ward", CLIENT: "digits"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    left = [
        ("ConfigMap", "umbel-requests-ward", asks, {}),
        ("ConfigMap", "umbel-answers-ward", asks, {}),
        ("Secret", "ward-agent-hub-renewed", {}, {}),
        ("Secret", "digits", of_client, {}),
        ("NetworkPolicy", "digits", of_client, {"spec": {"podSelector": {}}}),
        ("PersistentVolumeClaim", "digits", of_client, {"spec": claim}),
    ]
    groups = {"NetworkPolicy": "networking.k8s.io/v1"}
    made = [
        {"apiVersion": groups.get(kind, "v1"), "kind": kind, "metadata": {"name": name, "labels": labels}, **more}
        for kind, name, labels, more in left
    ]
    deployment = charts.rendered(charts.SILO, "--show-only=templates/deployment.yaml", *values, **where)
    api.kubectl("apply", "-n", "ward", "-f", "-", input=yaml.safe_dump_all([*made, *deployment]))
    pods = "app.kubernetes.io/name=umbel-agent,app.kubernetes.io/instance=ward"
    given = ["--deployment=ward-agent", f"--pods={pods}", "--hub-secret=ward-agent-hub-renewed", "--timeout=60"]
    hook = rights_in(charts.SILO, "uninstall.yaml", *values, **where)
    asked(api, hook, "ward", "ward-agent", "agent", "uninstall", f"--site={site}", *given)
    kinds = "pod,configmap,secret,networkpolicy,pvc"
    there = api.kubectl("get", kinds, "-n", "ward", "-o", "name").split()
    assert there == ["configmap/kube-root-ca.crt"]


def test_what_fails_leaves_what_has_its_log_and_no_right(hub: _api.Api) -> None:
    """Neither the test nor the hook ends, as no pod runs: of each its pod or Job stays. Then the hub is uninstalled
    without hooks, and the documentation's command removes what is left."""
    kinds = "pod,job,configmap,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding"

    def left() -> set[str]:
        """But for the operator's pod, which the release's Deployment takes with it; of the hook's, all but its end."""
        found = hub.kubectl("get", kinds, *WHERE, "-l", f"app.kubernetes.io/instance={HUB}", "-o", "name").split()
        own = {name for name in found if not name.startswith("pod/umbel-operator-")}
        return {re.sub(r"^(pod/umbel-hub-uninstall)-\w+$", r"\1", name) for name in own}

    before = left()
    with pytest.raises(ClusterError):
        helm(hub, "test", HUB, "--timeout=1s")
    assert left() - before == {"pod/umbel-hub-test"}
    with pytest.raises(ClusterError, match=HOOK_TIMED_OUT):
        helm(hub, "uninstall", HUB, "--timeout=1s")
    waits = {"job.batch/umbel-hub-uninstall", "pod/umbel-hub-uninstall"}
    assert left() - before == {"pod/umbel-hub-test", *waits}
    helm(hub, "uninstall", HUB, "--no-hooks")
    (command,) = re.findall(r"^\$ kubectl (delete pod,job -n umbel-system .+)$", INSTALL, re.MULTILINE)
    hub.kubectl(*command.split())
    assert not left()
