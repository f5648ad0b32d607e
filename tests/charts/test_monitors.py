"""What the charts make for Prometheus Operator, held against its own CustomResourceDefinitions on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api.crds import ESTABLISHED
from umbel_cluster import api as _api
from umbel_cluster import charts
from umbel_cluster.tools import ClusterError, built

from umbel.job import parse, resolve
from umbel_operator.hub.manifests import server
from umbel_operator.hub.manifests.common import Identity

from .conftest import ROOT
from .test_values import EVERYTHING

pytestmark = pytest.mark.api

GROUP = "monitoring.coreos.com/v1"
KINDS = ("servicemonitors", "podmonitors", "prometheusrules")
SYSTEM = "umbel-system"
MORE = {
    charts.HUB: ("serviceMonitor.labels.release=main", "serviceMonitor.interval=1m", "prometheusRule.labels.role=x"),
    charts.SILO: ("podMonitor.labels.release=main", "podMonitor.interval=150s"),
}

Object = dict[str, Any]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_api.Api]:
    with _api.serving(tmp_path_factory.mktemp("api")) as serving:
        for kind in KINDS:
            file = str(built("prometheus-operator") / f"monitoring.coreos.com_{kind}.yaml")
            serving.kubectl("apply", "--server-side", "-f", file)
            serving.kubectl("wait", ESTABLISHED, "--timeout=30s", "-f", file)
        serving.kubectl("create", "namespace", SYSTEM)
        yield serving


def made(chart: Path, *args: str) -> list[Object]:
    return [obj for obj in charts.rendered(chart, *EVERYTHING[chart], *args) if obj["apiVersion"] == GROUP]


def apply(api: _api.Api, obj: Object) -> Object:
    how = ("--server-side", "--force-conflicts", "--validate=strict", "-o", "json")
    return dict(json.loads(api.kubectl("apply", *how, "-f", "-", input=json.dumps(obj))))


@pytest.mark.parametrize("chart", MORE, ids=lambda chart: chart.name)
def test_they_are_taken_as_they_are(api: _api.Api, chart: Path) -> None:
    kinds = set()
    for args in ((), tuple(f"--set={value}" for value in MORE[chart])):
        for obj in made(chart, *args):
            kept = apply(api, obj)
            assert kept["spec"] == obj["spec"], "no field is dropped, and none is filled in"
            kinds.add(obj["kind"])
    assert kinds == ({"ServiceMonitor", "PrometheusRule"} if chart == charts.HUB else {"PodMonitor"})


def test_helm_installs_all_that_is_optional(api: _api.Api) -> None:
    """The ConfigMaps hold the pages that are committed, under the label that Grafana's sidecar looks for."""
    where = ("-n", "installed", "--create-namespace")
    for release, chart in (("umbel", charts.HUB), ("umbel-silo", charts.SILO)):
        charts.helm("install", release, chart, *where, *EVERYTHING[chart], kubeconfig=api.kubeconfig)
    kinds = "poddisruptionbudget,servicemonitor,podmonitor,prometheusrule"
    found = api.kubectl("get", kinds, *where[:2], "-o", "name").split()
    assert sorted(found) == [
        "poddisruptionbudget.policy/umbel-operator",
        "podmonitor.monitoring.coreos.com/umbel-silo-agent",
        "prometheusrule.monitoring.coreos.com/umbel",
        "servicemonitor.monitoring.coreos.com/umbel-operator",
        "servicemonitor.monitoring.coreos.com/umbel-servers",
    ]
    listed = json.loads(api.kubectl("get", "configmap", *where[:2], "-l", "grafana_dashboard=1", "-o", "json"))
    pages = {name: text for item in listed["items"] for name, text in item["data"].items()}
    committed = {path.name: path.read_text("utf-8") for path in (ROOT / "helm/umbel-hub/dashboards").glob("*.json")}
    assert pages.keys() == committed.keys()
    assert {name: json.loads(text) for name, text in pages.items()} == {
        name: json.loads(text) for name, text in committed.items()
    }


def misspelt(obj: Object) -> None:
    obj["spec"]["selektor"] = {}


def not_a_time(obj: Object) -> None:
    for key in ("endpoints", "podMetricsEndpoints"):
        for endpoint in obj["spec"].get(key, ()):
            endpoint["interval"] = "often"
    for group in obj["spec"].get("groups", ()):
        group["rules"][0]["for"] = "long"


def without_what_it_is_about(obj: Object) -> None:
    for key in ("selector", "groups"):
        obj["spec"].pop(key, None)
    for group in obj["spec"].setdefault("groups", [{}]) if obj["kind"] == "PrometheusRule" else ():
        group["rules"] = [{"alert": "x"}]


@pytest.mark.parametrize("spoil", [misspelt, not_a_time, without_what_it_is_about])
@pytest.mark.parametrize("chart", MORE, ids=lambda chart: chart.name)
def test_what_is_wrong_with_one_would_be_found(api: _api.Api, chart: Path, spoil: Any) -> None:
    for obj in made(chart):
        spoil(obj)
        with pytest.raises(ClusterError):
            apply(api, obj)


def test_each_service_monitor_finds_the_services_that_it_is_for() -> None:
    """The operator's, which the chart makes, and the servers', which the operator makes."""
    monitors = {obj["metadata"]["name"]: obj["spec"] for obj in made(charts.HUB) if obj["kind"] == "ServiceMonitor"}
    services = [obj for obj in charts.rendered(charts.HUB, *EVERYTHING[charts.HUB]) if obj["kind"] == "Service"]
    job = Identity("digits", "default", "0f3c2a9e-1111-2222-3333-444455556666")
    manifest = resolve(parse(yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())))
    services += [server.admin_service(job), server.service(job, manifest)]
    found = {name: [s["metadata"]["name"] for s in services if _monitored(spec, s)] for name, spec in monitors.items()}
    assert found == {"umbel-operator": ["umbel-operator"], "umbel-servers": ["digits-admin"]}


def test_the_pod_monitor_finds_the_agent() -> None:
    (monitor,) = made(charts.SILO)
    (pod,) = (
        obj["spec"]["template"]
        for obj in charts.rendered(charts.SILO, *EVERYTHING[charts.SILO])
        if obj["kind"] == "Deployment"
    )
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports


def _monitored(monitor: Object, service: Object) -> bool:
    ports = {port["name"] for port in service["spec"]["ports"]}
    labels = service["metadata"].get("labels", {})
    asked = {endpoint["port"] for endpoint in monitor["endpoints"]}
    return bool(monitor["selector"]["matchLabels"].items() <= labels.items()) and asked <= ports
