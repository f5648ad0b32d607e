"""Installed, tried, upgraded, rolled back and removed, on a real node, with nothing but Helm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from umbel_cluster import charts, images
from umbel_cluster.cluster import Cluster
from umbel_cluster.tools import ClusterError

from .conftest import ROOT
from .installed import HUB, SILOS, SYSTEM, Installed

pytestmark = pytest.mark.cluster

LONG = 100_000  # rounds: it runs until it is deleted
KEEPING = "--reset-then-reuse-values"  # as docs/install.md has it
NAMESPACED = "all,secret,configmap,serviceaccount,role,rolebinding,networkpolicy,lease,pvc"
BY_KUBERNETES = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


@pytest.fixture(scope="module")
def whole(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """As the charts of the last release install it, where there is one; their image is of now."""
    folder = tmp_path_factory.mktemp("installed")
    made, released = Installed(node, folder), last_release(folder)
    for chart in (released / "umbel-hub", released / "umbel-silo"):
        image = f"registry.local/umbel-control:{yaml.safe_load((chart / 'Chart.yaml').read_text())['appVersion']}"
        if image != images.CONTROL:
            node.ctr("images", "tag", "--force", images.CONTROL, image)
    made.install_hub(chart=released / "umbel-hub")
    for silo in SILOS:
        made.install_silo(silo, chart=released / "umbel-silo")
    return made


def last_release(folder: Path) -> Path:
    """Where the charts of the newest tag are: those of this tree while there is none."""
    said = subprocess.run(["git", "tag", "--list", "v*", "--sort=-v:refname"], cwd=ROOT, capture_output=True, text=True)
    if not (tags := said.stdout.split()):
        return ROOT / "helm"
    archive = ["git", "archive", "--format=tar", f"--output={folder}/release.tar", tags[0], "helm"]
    subprocess.run(archive, cwd=ROOT, check=True)
    shutil.unpack_archive(folder / "release.tar", folder / "release", filter="data")
    return folder / "release/helm"


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


def test_a_job_goes_on_through_an_upgrade_and_a_rollback(whole: Installed) -> None:
    """From the last release to this tree, with other values, and back."""
    node = whole.node
    node.ctr("images", "tag", "--force", images.CONTROL, "registry.local/umbel-control:next")
    whole.apply_job("long", LONG)
    whole.until(lambda: whole.round("long") >= 2, "a second round")
    server, operator = _uid(whole, "default", "umbel.dev/job=long"), _uid(whole, SYSTEM, OPERATOR)
    before = whole.round("long")
    whole.install_hub(KEEPING, "--set=image.tag=next", "--set=podAnnotations.some=changed")
    for silo in SILOS:
        whole.install_silo(silo, KEEPING, "--set=image.tag=next", "--set=site.state.size=2Gi")
    assert _uid(whole, SYSTEM, OPERATOR) != operator, "the operator is another pod"
    whole.until(lambda: whole.round("long") > before + 1, "rounds after the upgrade")
    whole.helm("rollback", HUB, "-n", SYSTEM, "--wait")
    for silo in SILOS:
        whole.helm("rollback", "umbel-silo", "-n", silo, "--wait")
    after = whole.round("long")
    whole.until(lambda: whole.round("long") > after + 1, "rounds after the rollback")
    assert _uid(whole, "default", "umbel.dev/job=long") == server, "the server was never touched"
    assert whole.condition("long", "Failed").get("status") != "True"
    whole.kubectl("delete", "fj", "--all", "--wait=true", "--timeout=120s")


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


def test_a_silo_that_is_not_whole_fails_its_test_and_is_uninstalled(installed: Installed) -> None:
    more = ["--set-json=site.policy.images=[]", "--set=site.datasets.scans.volumeClaim=not-there"]
    installed.install_silo(SILOS[2], *more)
    with pytest.raises(ClusterError):
        installed.helm("test", "umbel-silo", "-n", SILOS[2])
    said = installed.kubectl("logs", "umbel-silo-agent-test", "-n", SILOS[2])
    assert "the policy: allows no image" in said
    assert f"there is no PersistentVolumeClaim not-there in namespace {SILOS[2]}" in said
    assert "the hub: good" in said
    states = {f"PersistentVolumeClaim/{pvc['metadata']['name']}" for pvc in installed.items("pvc", "-n", SILOS[2])}
    installed.helm("uninstall", "umbel-silo", "-n", SILOS[2])
    _left(installed, SILOS[2], {*states, "Pod/umbel-silo-agent-test"})  # for its log
    installed.kubectl("delete", "pod,job", "-n", SILOS[2], "-l", "app.kubernetes.io/instance=umbel-silo")
    _left(installed, SILOS[2], states)


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
