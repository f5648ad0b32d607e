"""What the charts make: Pod Security, images, CustomResourceDefinitions, policies that fit the pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from umbel_cluster import charts, images

from .conftest import ROOT
from .test_values import EVERYTHING, SITE

pytestmark = pytest.mark.process  # helm

Object = dict[str, Any]
PODS = {"Deployment", "Job"}


def pods(chart: Path, *args: str) -> Iterator[Object]:
    """The spec of every pod, those of hooks and tests too."""
    for obj in charts.rendered(chart, *EVERYTHING[chart], *args):
        if obj["kind"] in PODS:
            yield obj["spec"]["template"]["spec"]
        elif obj["kind"] == "Pod":
            yield obj["spec"]


@pytest.mark.parametrize("chart", EVERYTHING, ids=lambda chart: chart.name)
def test_pod_security_is_restricted(chart: Path) -> None:
    found = list(pods(chart))
    assert len(found) == 3, "the program, the test, the hook"
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("chart", EVERYTHING, ids=lambda chart: chart.name)
def test_images(chart: Path) -> None:
    digest = "sha256:" + "a" * 64
    usual = {container["image"] for pod in pods(chart) for container in pod["containers"]}
    assert usual == {images.CONTROL}, "what hack/images builds"
    for args, image in (
        (["--set=image.repository=x/y", "--set-string=image.tag=7"], "x/y:7"),
        (["--set-string=image.tag=7", f"--set=image.digest={digest}"], f"registry.local/umbel-control@{digest}"),
    ):
        for pod in pods(chart, *args, "--set=imagePullSecrets[0].name=key"):
            assert {container["image"] for container in pod["containers"]} == {image}
            assert pod["imagePullSecrets"] == [{"name": "key"}]


@pytest.mark.parametrize("keep", [True, False])
def test_crds_are_those_of_the_folder(keep: bool) -> None:
    made = {
        obj["metadata"]["name"]: obj
        for obj in charts.rendered(charts.HUB, f"--set=crds.keep={str(keep).lower()}")
        if obj["kind"] == "CustomResourceDefinition"
    }
    sources = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
    assert made.keys() == {source["metadata"]["name"] for source in sources}
    for source in sources:
        own = made[source["metadata"]["name"]]
        assert own["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
        assert own["metadata"].pop("annotations", {}) == ({"helm.sh/resource-policy": "keep"} if keep else {})
        assert own == source


def test_without_crds() -> None:
    made = charts.rendered(charts.HUB, "--set=crds.enabled=false")
    assert not [obj for obj in made if obj["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize("chart", EVERYTHING, ids=lambda chart: chart.name)
def test_every_pod_has_a_policy(chart: Path) -> None:
    made = charts.rendered(chart, *EVERYTHING[chart])
    selectors = [obj["spec"]["podSelector"]["matchLabels"] for obj in made if obj["kind"] == "NetworkPolicy"]
    for obj in made:
        if obj["kind"] in {*PODS, "Pod"}:
            labels = (obj if obj["kind"] == "Pod" else obj["spec"]["template"])["metadata"]["labels"]
            fitting = [selector for selector in selectors if selector.items() <= labels.items()]
            assert len(fitting) == 1, f"{obj['kind']} {obj['metadata']['name']}: {len(fitting)} policies"


def test_an_agent_is_let_through_to_what_its_bundle_names() -> None:
    """As the hub is shipped: its join service, in this very cluster."""
    (operator,) = (obj for obj in charts.rendered(charts.HUB) if obj["kind"] == "Deployment")
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    (url,) = (arg.partition("=")[2] for arg in container["args"] if arg.startswith("--join-url="))
    (policy,) = (obj for obj in charts.rendered(charts.SILO, *SITE) if obj["kind"] == "NetworkPolicy")
    open_ = {port["port"] for rule in policy["spec"]["egress"] if "to" not in rule for port in rule["ports"]}
    assert urlsplit(url).port in open_
    inside = {port["containerPort"] for port in container["ports"] if port["name"] == "join"}
    assert inside <= open_, "a policy sees the pod's port, not the Service's"


def test_the_operator_is_let_through_to_servers() -> None:
    """The servers' own policies know its pod by these labels."""
    from umbel_operator.hub.settings import Settings

    (deployment,) = (obj for obj in charts.rendered(charts.HUB) if obj["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert Settings().operator_labels.items() <= labels.items()
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_another_site_starts_the_agent_anew_and_another_release_does_not() -> None:
    def template(*args: str) -> Object:
        (found,) = (obj for obj in charts.rendered(charts.SILO, *SITE, *args) if obj["kind"] == "Deployment")
        return found["spec"]["template"]

    assert template() == template("--set=podMonitor.interval=1m")
    assert template() != template("--set=site.policy.images={a/*}")
