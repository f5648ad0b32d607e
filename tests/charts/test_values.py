"""Values: what is wrong is refused with its path, what may be said has an effect."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import chartdoc
import click
import pytest
import yaml
from umbel_cluster import charts
from umbel_cluster.tools import ClusterError

from umbel_operator.agent.site import parse
from umbel_operator.hub import tracing_options
from umbel_operator.hub.settings import Tracing

pytestmark = pytest.mark.process  # helm

SITE = ["--set=site.silo=hospital-a", "--set=hub.existingSecret=hub"]
EVERYTHING = {
    charts.HUB: [
        "--set=join.service.type=NodePort",
        *("--set=podDisruptionBudget.enabled=true", "--set=serviceMonitor.enabled=true"),
        *("--set=prometheusRule.enabled=true", "--set=dashboards.enabled=true"),
        "--set=tracing.endpoint=http://collector:4318",
    ],
    charts.SILO: [*SITE, "--set=podMonitor.enabled=true"],
}


@pytest.mark.parametrize("chart", EVERYTHING, ids=lambda chart: chart.name)
def test_lint(chart: Path) -> None:
    said = charts.helm("lint", "--strict", chart, *EVERYTHING[chart])
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize(
    ("chart", "wrong", "path"),
    [
        (charts.HUB, "imge.tag=1", "additional properties 'imge' not allowed"),
        (charts.HUB, "image.digest=sha256:12", "at '/image/digest'"),
        (charts.HUB, "image.pullPolicy=Sometimes", "at '/image/pullPolicy'"),
        (charts.HUB, "crds.keep=perhaps", "at '/crds/keep': got string, want boolean"),
        (charts.HUB, "service.port=0", "at '/service/port'"),
        (charts.HUB, "uninstall.timeoutSeconds=1", "at '/uninstall/timeoutSeconds'"),
        (charts.HUB, "tracing.endpoint=collector:4318", "at '/tracing/endpoint'"),
        (charts.HUB, "tracing.endpoint=https://me:secret@collector", "at '/tracing/endpoint'"),
        (charts.HUB, "affinity.nodeAfinity.x=1", "at '/affinity': additional properties 'nodeAfinity' not allowed"),
        (charts.HUB, "tracing.ports={70000}", "at '/tracing/ports/0'"),
        (charts.HUB, "networkPolicy.apiServer.cidrs={everywhere}", "at '/networkPolicy/apiServer/cidrs/0'"),
        (charts.SILO, "site.silo=Hospital", "at '/site/silo'"),
        (charts.SILO, "site.policy.image=x", "at '/site/policy': additional properties 'image' not allowed"),
        (charts.SILO, "site.datasets.ct.volume=x", "at '/site/datasets/ct': additional properties 'volume' not"),
        (charts.SILO, "site.state.size=much", "at '/site/state/size'"),
        (charts.SILO, "site.pods.ceilings.cpu=many", "at '/site/pods/ceilings/cpu'"),
        (charts.SILO, "site.network.egress[0].ports={70000}", "at '/site/network/egress/0/ports/0'"),
        (charts.SILO, "site.slurm.partition=x", "at '/site': additional properties 'slurm' not allowed"),
        (charts.SILO, "site.policy.approval=Auto", "site.policy has approval Auto and no clients: write out"),
        (charts.SILO, "hub.existingSecret=", "how is the hub reached?"),
        (charts.SILO, "hub.kubeconfig=x", "hub.kubeconfig and hub.existingSecret are given: give one"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(chart: Path, wrong: str, path: str) -> None:
    with pytest.raises(ClusterError) as error:
        charts.rendered(chart, *(SITE if chart == charts.SILO else ()), f"--set={wrong}")
    assert path in str(error.value)


def test_a_silo_has_a_name() -> None:
    with pytest.raises(ClusterError, match=r"site.silo is missing: give the silo's name, as the hub knows it"):
        charts.rendered(charts.SILO, "--set=hub.existingSecret=hub")


def test_a_bundle_is_the_silo_s_own(tmp_path: Path) -> None:
    given = f"--set-file=join.bundle={tmp_path / 'bundle'}"
    (tmp_path / "bundle").write_text(BUNDLE)
    (found,) = (obj for obj in charts.rendered(charts.SILO, given) if obj["kind"] == "ConfigMap")
    assert yaml.safe_load(found["data"]["site.yaml"]) == {"silo": "hospital-a"}, "the name is the bundle's"
    with pytest.raises(ClusterError, match=r"join.bundle invites silo hospital-a, and site.silo is hospital-b"):
        charts.rendered(charts.SILO, given, "--set=site.silo=hospital-b")
    (tmp_path / "bundle").write_text("kind: Config\nclusters: []\n")
    with pytest.raises(ClusterError, match=r"join.bundle is no JoinBundle: give the file that `umbel silo invite`"):
        charts.rendered(charts.SILO, given)


def test_something_else_than_a_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("hello")
    with pytest.raises(ClusterError, match="is not a kubeconfig: give the file that `umbel silo add` printed"):
        charts.rendered(charts.SILO, "--set=site.silo=a", f"--set-file=hub.kubeconfig={tmp_path / 'hub'}")


def _another(part: dict[str, Any]) -> Any:
    """A value that the schema takes and that is not the default."""
    default, kind = part["default"], part["type"]
    if "enum" in part:
        return next(value for value in part["enum"] if value not in ("", default))
    if kind == "boolean":
        return not default
    if kind in ("integer", "number"):
        return default + 1 if default < part.get("maximum", default + 1) else part["minimum"]
    if kind == "array":
        return [_element(part["items"])]
    if kind == "object":
        return {"umbel.dev/some": "1"} if part.get("additionalProperties") else {"some": {}}
    taken = ("9m", "https://some:1", "sha256:" + "0" * 64)
    return next(text for text in taken if re.fullmatch(part.get("pattern", ".*").strip("^$"), text))


def _element(part: dict[str, Any]) -> Any:
    if part.get("type") == "integer":
        return 1234
    if part.get("type") == "object":
        return {name: "10.9.0.0/16" if name == "cidr" else "some" for name in part.get("required", ())}
    if "enum" in part:
        return part["enum"][-1]
    return "10.9.0.0/16" if "/" in part.get("pattern", "") else "some"


BUNDLE = "kind: JoinBundle\nsilo: hospital-a\n"
SPECIAL: dict[str, Any] = {
    "hub.kubeconfig": "clusters: []",
    "join.bundle": BUNDLE,
    "join.service.type": "LoadBalancer",
    "site": {"policy": {"images": ["some/*"]}},
    "resources": {"limits": {"cpu": 7}},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"key": "some"}],
}
NOT_READ = {"global"}


@pytest.mark.parametrize("chart", EVERYTHING, ids=lambda chart: chart.name)
def test_every_value_has_an_effect(chart: Path, tmp_path: Path) -> None:
    def made(values: Any, without: str = "") -> str:
        (tmp_path / "values.yaml").write_text(json.dumps(values))
        usual = [arg for arg in EVERYTHING[chart] if not without or not arg.startswith(f"--set={without}=")]
        return charts.helm(
            "template", "umbel", chart, "--namespace=umbel", *usual, f"--values={tmp_path / 'values.yaml'}"
        )

    # Much text that is the same each time.
    quick = {"crds": {"enabled": False}} if chart == charts.HUB else {}
    usual, dead = {False: made({}), True: made(quick)}, set()
    for path, part in chartdoc.leaves(json.loads((chart / "values.schema.json").read_text())):
        if path.startswith("alerts.") and path != "alerts.runbooks":
            continue  # tests/monitoring/test_rules.py has them
        said = part["type"] == "boolean" and f"--set={path}=true" in EVERYTHING[chart]
        whole: Any = False if said else SPECIAL.get(path, _another(part))
        for name in reversed(path.split(".")):
            whole = {name: whole}
        fast = not path.startswith("crds.")
        without = "hub.existingSecret" if path in ("hub.kubeconfig", "join.bundle", "join.existingSecret") else path
        if made({**(quick if fast else {}), **whole}, without) == usual[fast]:
            dead.add(path)
    assert dead == NOT_READ


def test_the_operator_reads_what_the_chart_says_of_traces() -> None:
    """Its own command takes the arguments, and understands them as they were meant."""
    more = {"headersSecret": "keys", "namespace": "watching", "cidrs": ["10.9.0.0/16"], "ports": [4317, 4318]}
    given = {"endpoint": "http://collector:4318", **more}
    found = rendered_arguments(f"--set-json=tracing={json.dumps(given)}")
    words = [word for word in found if word.startswith("--traces")]
    read: list[Tracing | None] = []

    @click.command()
    @tracing_options.options
    def command(**traces: Any) -> None:
        read.append(tracing_options.read(**traces))

    command.main(words, standalone_mode=False)
    assert read == [Tracing("http://collector:4318", "keys", "watching", ("10.9.0.0/16",), (4317, 4318))]
    assert not [word for word in rendered_arguments() if word.startswith("--traces")]


def rendered_arguments(*args: str) -> list[str]:
    (found,) = (obj for obj in charts.rendered(charts.HUB, *args) if obj["kind"] == "Deployment")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def test_the_site_file_is_what_was_written_and_nothing_else() -> None:
    """A policy that lets jobs run unasked has to be written out; a default of the chart would look like that."""
    (found,) = (obj for obj in charts.rendered(charts.SILO, *SITE) if obj["kind"] == "ConfigMap")
    assert yaml.safe_load(found["data"]["site.yaml"]) == {"silo": "hospital-a"}


WHOLE = {
    "silo": "hospital-a",
    "policy": {
        "approval": "Auto",
        "images": ["a/*"],
        "requireDigest": False,
        "clients": ["*"],
        "namespaces": ["*"],
        "jobs": [],
    },
    "datasets": {"ct": {"volumeClaim": "scans", "subPath": "2026"}, "empty": {}},
    "pods": {"env": {"A": "1"}, "tolerations": [{"key": "gpu", "tolerationSeconds": 30}], "ceilings": {"cpu": "4"}},
    "state": {"size": "2Gi", "storageClassName": "fast"},
    "network": {"egress": [{"cidr": "10.1.0.0/16", "ports": [443]}]},
}


def test_what_the_schema_takes_the_agent_takes(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(json.dumps({"site": WHOLE}))
    made = charts.rendered(charts.SILO, f"--values={tmp_path / 'values.yaml'}", "--set=hub.existingSecret=x")
    (found,) = (obj for obj in made if obj["kind"] == "ConfigMap")
    written = yaml.safe_load(found["data"]["site.yaml"])
    assert written == WHOLE
    parse(written)
