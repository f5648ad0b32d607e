"""Installed, tried, upgraded, rolled back and removed, on a real node, with nothing but Helm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from umbel_cluster import charts
from umbel_cluster.cluster import Cluster
from umbel_cluster.tools import ClusterError

from .installed import HUB, SILOS, SYSTEM, Installed

pytestmark = pytest.mark.cluster

LONG = 100_000  # rounds: it runs until it is deleted
NAMESPACED = "all,secret,configmap,serviceaccount,role,rolebinding,networkpolicy,lease,pvc"
BY_KUBERNETES = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


@pytest.fixture(scope="module")
def whole(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(node, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def installed(whole: Installed) -> Iterator[Installed]:
    """A hub and three silos; what a test changed or removed of them is put right."""
    whole.install_hub("--reset-values")
    for silo in SILOS:
        whole.install_silo(silo)
    yield whole
    if whole.names("crd", "-l", "app.kubernetes.io/part-of=umbel"):
        whole.kubectl("delete", "fj", "--all", "--wait=true", "--timeout=120s")


@pytest.fixture
def running(installed: Installed) -> Installed:
    """The same, with a job `long` that has closed a round."""
    installed.apply_job("long", LONG)
    installed.until(lambda: installed.round("long") >= 2, "a second round")
    return installed


def test_a_job_runs_to_complete_and_the_charts_test_themselves(installed: Installed) -> None:
    installed.apply_job("digits", 5)
    ended = installed.until(
        lambda: next(
            (t for t in ("Complete", "Failed") if installed.condition("digits", t).get("status") == "True"), None
        ),
        "the end of the job",
    )
    assert ended == "Complete", installed.condition("digits", "Failed")
    said = installed.helm("test", HUB, "-n", SYSTEM, "--logs")
    assert "a job that is wrong: good" in said
    assert "Complete: 3 rounds" in said
    said = installed.helm("test", "umbel-silo", "-n", SILOS[0], "--logs")
    assert "joining: good" in said
    assert "the hub: good" in said
    assert "the policy: good" in said


def test_a_silo_that_is_not_whole_fails_its_test(installed: Installed) -> None:
    more = ["--set-json=site.policy.images=[]", "--set=site.datasets.scans.volumeClaim=not-there"]
    installed.install_silo(SILOS[2], *more)
    with pytest.raises(ClusterError):
        installed.helm("test", "umbel-silo", "-n", SILOS[2])
    said = installed.kubectl("logs", "umbel-silo-agent-test", "-n", SILOS[2])
    installed.kubectl("delete", "pod", "umbel-silo-agent-test", "-n", SILOS[2])  # it was left for its log
    assert "the policy: allows no image" in said
    assert f"there is no PersistentVolumeClaim not-there in namespace {SILOS[2]}" in said
    assert "the hub: good" in said


def test_a_job_goes_on_through_an_upgrade_and_a_rollback(running: Installed) -> None:
    node = running.node
    node.ctr("images", "tag", "--force", "registry.local/umbel-control:0.1.0", "registry.local/umbel-control:next")
    server, operator = _uid(running, "default", "umbel.dev/job=long"), _uid(running, SYSTEM, OPERATOR)
    before = running.round("long")
    running.install_hub("--set=image.tag=next", "--set=podAnnotations.some=changed")
    for silo in SILOS:
        running.install_silo(silo, "--set=image.tag=next", "--set=site.state.size=2Gi")
    assert _uid(running, SYSTEM, OPERATOR) != operator, "the operator is another pod"
    running.until(lambda: running.round("long") > before + 1, "rounds after the upgrade")
    running.helm("rollback", HUB, "-n", SYSTEM, "--wait")
    for silo in SILOS:
        running.helm("rollback", "umbel-silo", "-n", silo, "--wait")
    after = running.round("long")
    running.until(lambda: running.round("long") > after + 1, "rounds after the rollback")
    assert _uid(running, "default", "umbel.dev/job=long") == server, "the server was never touched"
    assert running.condition("long", "Failed").get("status") != "True"


def test_a_second_hub_is_refused_before_anything_is_made(installed: Installed) -> None:
    with pytest.raises(ClusterError, match=f"has a hub already: release {HUB} in namespace {SYSTEM}"):
        installed.helm("install", "other", charts.HUB, "-n", "elsewhere", "--create-namespace")
    assert not installed.items("deploy", "-n", "elsewhere")


def test_uninstalled_with_jobs_kept(running: Installed) -> None:
    """The job's server stops, nothing waits for an operator, and another hub takes the job up again."""
    running.helm("uninstall", HUB, "-n", SYSTEM)
    _left(running, SYSTEM, {"Secret/umbel-ca"})
    _no_right_is_left(running)
    assert not running.job("long")["metadata"].get("finalizers")
    (server,) = running.items("sts", "-l", "umbel.dev/job=long")
    assert server["spec"]["replicas"] == 0
    with pytest.raises(ClusterError, match=r"belong to release umbel in namespace umbel-system\. Hand them over"):
        running.helm("install", "other", charts.HUB, "-n", "elsewhere", "--create-namespace")
    reached = running.round("long")
    running.install_hub()
    running.until(lambda: running.round("long") > reached + 1, "further rounds under another hub")


def test_uninstalled_with_everything(running: Installed) -> None:
    """Nothing is left but what was asked to stay: the model, and the clients' state."""
    running.install_hub("--set=crds.keep=false")
    running.helm("uninstall", HUB, "-n", SYSTEM)
    assert not running.names("crd", "-l", "app.kubernetes.io/part-of=umbel")
    _left(running, SYSTEM, set())
    _no_right_is_left(running)
    assert not running.items("ns", "-l", "umbel.dev/silo")
    left = running.items("sts,svc,cm,secret,sa,netpol,pvc", "-l", "app.kubernetes.io/managed-by=umbel")
    assert {item["kind"] for item in left} == {"PersistentVolumeClaim"}, "model volumes are retained"
    for silo in SILOS:
        running.helm("uninstall", "umbel-silo", "-n", silo)
        states = running.items("pvc", "-n", silo)
        assert all(state["metadata"]["labels"]["umbel.dev/retained"] == "true" for state in states)
        _left(running, silo, {f"PersistentVolumeClaim/{state['metadata']['name']}" for state in states})
    with pytest.raises(ClusterError, match=r"the cluster has no CustomResourceDefinition federatedjobs\.umbel\.dev"):
        running.helm("install", HUB, charts.HUB, "-n", SYSTEM, "--set=crds.enabled=false")


OPERATOR = "app.kubernetes.io/name=umbel-operator"


def _uid(installed: Installed, namespace: str, selector: str) -> str:
    def living() -> list[str]:
        found = installed.items("pod", "-n", namespace, "-l", selector)
        return [pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    (uid,) = installed.until(lambda: found if len(found := living()) == 1 else None, f"one pod of {selector}")
    return uid


def _left(installed: Installed, namespace: str, wanted: set[str]) -> None:
    """Hooks' pods go in the background."""
    left: set[str] = set()

    def only_that() -> bool:
        nonlocal left
        left = installed.names(NAMESPACED, "-n", namespace) - BY_KUBERNETES
        return left == wanted

    installed.until(only_that, f"nothing left in {namespace} but {wanted}")


def _no_right_is_left(installed: Installed) -> None:
    rights = installed.names("clusterrole,clusterrolebinding")
    assert not {name for name in rights if "umbel" in name}
