"""A hub in one cluster and its silos in another, all by Helm alone, and a real Prometheus in each that reads what the
charts say is to be read: after a job, every panel of both pages has data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring.pages import ENDS, FILES, Asked, queries, read, substituted, without_clock
from monitoring.prometheus import PATIENCE, Prometheus
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from process.harness import wait_for
from umbel_cluster import charts
from umbel_cluster.cluster import Cluster

from . import watched
from .conftest import cluster_with_images
from .installed import HUB, SILOS, SYSTEM, Installed

pytestmark = pytest.mark.cluster

JOB, ENDLESS = "watched", 100_000  # rounds, until all has been seen
SLOW = {"epochs": 40, "learningRate": 0.0005}  # a round is not over in no time, and the model not good after one
JOIN_PORT, COLLECTOR_PORT = 30844, 4318  # of the node
HEADERS = "authorization=Bearer%20of-the-collector"
LAST = SILOS[-1]
VARIABLES = {"namespace": "default", "job": JOB, "__rate_interval": "15s"}
ALL = [query for path in FILES for query in queries(read(path))]

# What shows that something went wrong.
FAULTS = {
    *("Updates refused A", "Metrics withheld A", "Checkpoints not written A", "Alerts firing A", "Jobs G"),
    "Passes that failed A",
}
# What may be the same through a whole job: the rounds that it is to have, the examples of its silos.
STEADY = {*FAULTS, "Round B", "Rounds committed B", "Jobs C", "Examples behind the last round A"}
# What says that there is a job, and that it has ended.
COURSE = {"Job A", "Jobs A", "Jobs by phase A"}
# What moves faster than a machine is, or before a server that was just made is found.
LUCK = {"Updates held A", "How long an update is held A", "How long an update is held B"}

MOVING = [query for query in ALL if query.said not in STEADY | LUCK | ENDS]

Object = dict[str, Any]


@dataclass
class Scene:
    """``hub``, ``silo``: the Prometheus of each. ``traces``: a folder of what was sent to the collector. ``start``,
    ``end``: of the time that was watched."""

    installed: Installed
    hub: Prometheus
    silo: Prometheus
    traces: Path
    start: float
    end: float = 0.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Both clusters are removed as a whole, which takes seconds."""
    folder = tmp_path_factory.mktemp("watched")
    rules = next(obj["spec"] for obj in monitors(charts.HUB, HUB, SYSTEM) if obj["kind"] == "PrometheusRule")
    with (
        cluster_with_images("near") as near,
        cluster_with_images("far") as far,
        watched.prometheus(near, folder / "at-hub", rules) as hub,
        watched.prometheus(far, folder / "at-silo", {"groups": []}) as silo,
        watched.collector(near, folder / "traces", COLLECTOR_PORT),
    ):
        made = Scene(Installed(near, folder, dict.fromkeys(SILOS, far)), hub, silo, folder / "traces", time.time())
        play(made)
        made.end = time.time()
        yield made


def play(scene: Scene) -> None:
    """The hub, two silos elsewhere, a job, which waits for the third, then trains to its end; each is watched from when
    it is there."""
    installed, hub, silo = scene.installed, scene.hub, scene.silo
    servers, operator = (obj for obj in monitors(charts.HUB, HUB, SYSTEM) if obj["kind"] == "ServiceMonitor")
    if servers["metadata"]["name"] == "umbel-operator":
        servers, operator = operator, servers
    (agent,) = monitors(charts.SILO, "umbel-silo", LAST, "--set=site.silo=x", "--set=hub.existingSecret=x")
    install_hub(installed)
    hub.target("operator", one(installed, installed.node, operator))
    hub.until("fl_jobs_unlisted", 0)
    for name in SILOS[:-1]:
        installed.install_silo(name)
    installed.apply_job(JOB, ENDLESS, SLOW, expose={"type": "NodePort"})
    hub.target("server", one(installed, installed.node, servers))
    for shown in ("fl_federatedjob_silos", "fl_silos"):
        state = "ready" if shown == "fl_federatedjob_silos" else "connected"
        hub.until(f'{shown}{{fl_job="{JOB}", state="{state}"}}', len(SILOS) - 1)
    installed.install_silo(LAST)
    silo.target("agent", one(installed, installed.home(LAST), agent))
    for query in MOVING:
        if query.said not in COURSE:
            wait_for(lambda query=query: moved(scene, query, time.time()), f"{query} to move", PATIENCE)
    installed.kubectl("patch", "fj", JOB, "--type=merge", "-p", json.dumps({"spec": {"rounds": {"total": 1}}}))
    for query in MOVING:
        wait_for(lambda query=query: moved(scene, query, time.time()), f"{query} to move", PATIENCE)
    silo.until('fl_agent_clients{state="Finished"}', 1)


def moved(scene: Scene, query: Asked, end: float) -> bool:
    return scene.hub.moves(without_clock(substituted(query.expr, **VARIABLES)), scene.start, end)


def monitors(chart: Path, release: str, namespace: str, *args: str) -> list[Object]:
    """What the chart makes for Prometheus Operator."""
    all_ = ("serviceMonitor", "prometheusRule", "podMonitor")
    on = [f"--set={name}.enabled=true" for name in all_ if name in values(chart)]
    made = charts.rendered(chart, *on, *args, release=release, namespace=namespace)
    return [obj for obj in made if obj["apiVersion"] == "monitoring.coreos.com/v1"]


def values(chart: Path) -> Object:
    return dict(yaml.safe_load((chart / "values.yaml").read_text()))


def one(installed: Installed, cluster: Cluster, monitor: Object) -> str:
    """The one address that it leads to, as soon as there is one."""
    (address,) = installed.until(lambda: watched.addresses(cluster, monitor), monitor["metadata"]["name"])
    return str(address)


def install_hub(installed: Installed) -> None:
    """As the documentation says: with the addresses by which it is reached from elsewhere."""
    node = installed.node
    api = yaml.safe_load(Path(node.kubeconfig_inside).read_text())["clusters"][0]["cluster"]["server"]
    secret = {"metadata": {"name": "collector", "namespace": "default"}, "stringData": {"headers": HEADERS}}
    installed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Secret", **secret}))
    told = {
        "join": {"url": f"https://{node.node_ip}:{JOIN_PORT}", "apiUrl": api},
        "tracing": {"endpoint": f"http://{node.node_ip}:{COLLECTOR_PORT}", "headersSecret": "collector"},
    }
    told["join"]["service"] = {"type": "NodePort", "nodePort": JOIN_PORT}
    installed.install_hub(*(f"--set-json={name}={json.dumps(value)}" for name, value in told.items()))


def test_the_silos_in_the_other_cluster_took_part(scene: Scene) -> None:
    """They came by their bundles alone: nothing of them is in the hub's cluster but their namespaces there."""
    installed = scene.installed
    assert installed.condition(JOB, "Complete")["status"] == "True"
    history = [entry for entry in installed.job(JOB)["status"]["history"] if entry["outcome"] == "Committed"]
    assert {entry["members"]["full"] for entry in history} == {len(SILOS)}
    for silo in SILOS:
        (client,) = installed.items("fc", "-n", f"umbel-silo-{silo}")
        own = f"umbel.dev/job={JOB},umbel.dev/silo={silo}"
        found = installed.home(silo).kubectl("get", "deploy", "-n", silo, "-l", own, "-o", "json")
        assert [item["metadata"]["name"] for item in json.loads(found)["items"]] == [client["metadata"]["name"]]
    assert not installed.names("deploy", "-A", "-l", "umbel.dev/job")
    assert installed.names("deploy", "-A", "-l", "app.kubernetes.io/part-of=umbel") == {"Deployment/umbel-operator"}


@pytest.mark.parametrize("query", ALL, ids=str)
def test_a_panel_has_data(scene: Scene, query: Asked) -> None:
    expr = substituted(query.expr, **VARIABLES)
    assert any(points for _, points in scene.hub.over(expr, scene.start, scene.end))


@pytest.mark.parametrize("query", MOVING, ids=str)
def test_what_ought_to_move_moves(scene: Scene, query: Asked) -> None:
    assert moved(scene, query, scene.end)


@pytest.mark.parametrize("query", [query for query in ALL if query.said in FAULTS], ids=str)
def test_what_shows_faults_shows_none(scene: Scene, query: Asked) -> None:
    shown = scene.hub.over(substituted(query.expr, **VARIABLES), scene.start, scene.end)
    assert {value for _, points in shown for _, value in points} == {0.0}


def test_nothing_fires_while_all_is_well(scene: Scene) -> None:
    assert scene.hub.over('ALERTS{alertstate="firing"}', scene.start, scene.end) == []


def test_a_silos_own_numbers_are_in_the_silo_and_nowhere_else(scene: Scene) -> None:
    assert scene.silo.moves("sum by (state) (fl_agent_clients)", scene.start, scene.end)
    assert scene.silo.value('fl_agent_writes_total{kind="Silo"}')
    assert scene.silo.value("fl_agent_hub_last_success_timestamp_seconds - fl_agent_token_expiry_timestamp_seconds < 0")
    assert scene.hub.instant("fl_agent_clients") == []
    assert scene.silo.instant("fl_job_round") == []


def test_each_round_is_a_trace_at_the_collector(scene: Scene) -> None:
    files = list(scene.traces.glob("*.traces"))
    requests = [ExportTraceServiceRequest.FromString(file.read_bytes()) for file in files]
    spans = [span for r in requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]
    rounds = [{pair.key: pair.value for pair in span.attributes} for span in spans if span.name == "round"]
    committed = [found for found in rounds if found["umbel.outcome"].string_value == "Committed"]
    last = scene.installed.round(JOB)
    assert sorted(found["umbel.round"].int_value for found in committed) == list(range(1, last + 1))
    assert {found["umbel.job"].string_value for found in rounds} == {JOB}
    assert {file.with_suffix(".authorization").read_text() for file in files} == {"Bearer of-the-collector"}
    whole = b"".join(file.read_bytes() for file in files)
    assert not [silo for silo in SILOS if silo.encode() in whole]
