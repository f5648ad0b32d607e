"""Tests and hooks of the hub's chart on a real API server: what they may do, and what is left of one that fails."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from api import rights
from umbel_cluster import api as _api
from umbel_cluster import charts
from umbel_cluster.tools import ClusterError

from umbel_operator import names

from .conftest import ROOT
from .installed import HUB, SYSTEM, UMBEL

pytestmark = pytest.mark.api

WHERE = ("-n", SYSTEM)
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
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


def helm(api: _api.Api, *args: Any) -> str:
    return charts.helm(*args, *WHERE, kubeconfig=api.kubeconfig)


def asked(hub: _api.Api, template: str, account: str, command: list[str], *values: str) -> None:
    """As the hook's account, with the rights that the template gives it: all are used, and none is lacked."""
    made = [o for o in charts.rendered(charts.HUB, f"--show-only=templates/{template}", *values) if o["kind"] in RIGHTS]
    hub.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(made))
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    before = len(list(hub.calls(user)))
    where = ["--namespace", SYSTEM, "--kubeconfig", hub.kubeconfig_for(SYSTEM, account)]
    done = subprocess.run([UMBEL, "hub", *command, *where], capture_output=True, text=True, timeout=120)
    calls = list(hub.calls(user))[before:]
    granted = {right for obj in made for right in rights.granted(obj.get("rules", ()))}
    assert not rights.refused(calls), done.stdout + done.stderr
    assert rights.unused(granted, rights.used(calls)) == []
    assert rights.too_wide(granted, rights.used(calls)) == []
    hub.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(made))


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
    command = ["uninstall", "--timeout=30", *(["--keep"] if keep else [])]
    asked(hub, "uninstall.yaml", "umbel-hub-uninstall", command, f"--set=crds.keep={json.dumps(keep)}")
    assert bool(hub.kubectl("get", "fj,silo", "-A", "-o", "name")) == keep


def test_a_hub_whose_uninstallation_has_failed_is_brought_back(hub: _api.Api) -> None:
    """Its hook is played to where the operator has stopped; no pod runs here, and so the hook ends in time."""
    replicas = lambda: hub.kubectl("get", "deploy", "umbel-operator", *WHERE, "-o", "jsonpath={.spec.replicas}")  # noqa: E731
    command = [UMBEL, "hub", "uninstall", "--keep", "--timeout=30", "--namespace", SYSTEM]
    subprocess.run([*command, "--kubeconfig", hub.kubeconfig], check=True, timeout=120)
    with pytest.raises(ClusterError):
        helm(hub, "uninstall", HUB, "--timeout=1s")
    assert replicas() == "0"
    helm(hub, "rollback", HUB, "1")
    assert replicas() == "1"
    helm(hub, "upgrade", HUB, charts.HUB)


def test_the_test_uses_every_right_that_it_has(hub: _api.Api) -> None:
    asked(hub, "tests/hub.yaml", "umbel-hub-test", ["check"])


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
    with pytest.raises(ClusterError):
        helm(hub, "uninstall", HUB, "--timeout=1s")
    waits = {"job.batch/umbel-hub-uninstall", "pod/umbel-hub-uninstall"}
    assert left() - before == {"pod/umbel-hub-test", *waits}
    helm(hub, "uninstall", HUB, "--no-hooks")
    (command,) = re.findall(r"^\$ kubectl (delete pod,job -n umbel-system .+)$", INSTALL, re.MULTILINE)
    hub.kubectl(*command.split())
    assert not left()
