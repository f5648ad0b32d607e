"""The CustomResourceDefinitions at a real API server: documented, bounded, refusing in readable words."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from api.asking import Asker, asking
from api.crds import CRDS, applied, job, words
from api.specs import put
from umbel_cluster.api import Api
from umbel_cluster.tools import ClusterError, kubernetes

from umbel.job import JobError, parse, resolve

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def crds(api: Api) -> Api:
    return applied(api)


@pytest.fixture(scope="module")
def jobs(crds: Api) -> Iterator[Asker]:
    crds.kubectl("create", "namespace", "rules")
    with asking(crds.kubeconfig, "federatedjobs", "rules") as asker:
        yield asker


def test_they_are_applied_without_a_warning_also_twice(crds: Api) -> None:
    command = [str(kubernetes("kubectl")), f"--kubeconfig={crds.kubeconfig}", "apply", "--server-side", "-f", str(CRDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("serverside-applied") == 3


def test_kubectl_explains_every_field(crds: Api) -> None:
    text = " ".join(crds.kubectl("explain", "fj.spec.rounds").split())
    assert "The rounds of the job." in text
    assert "quorum <integer> Updates enough to commit at the deadline. Default: 2/3 of `updates`" in text
    assert "partialUpdates <string> enum: Rescale, AsIs, Refuse" in text
    assert "Names in it are ignored" in " ".join(crds.kubectl("explain", "fc.status").split())
    assert "whose jobs it takes part in" in " ".join(crds.kubectl("explain", "silo.spec").split())


def test_short_names_and_the_category(crds: Api) -> None:
    crds.kubectl("get", "fj,fc,umbel", "-A")
    listed = crds.kubectl("api-resources", "--categories=umbel", "-o", "name").split()
    assert sorted(listed) == [f"{kind}.umbel.dev" for kind in ("federatedclients", "federatedjobs", "silos")]


SILO = {"name": "a", "dataset": "d"}
SELECTOR = {"matchLabels": {"a": "b"}, "dataset": "d"}
RULE = {"strategy__name": "FedAvgM"}

SAME: list[dict[str, Any]] = [
    {"silos": []},
    {"siloSelector": SELECTOR, "rounds__quorum": 3},
    {"silos": [], "siloSelector": SELECTOR},
    {"rounds": {"quorum": 7, "updates": 5}},
    {"rounds__quorum": 6},
    {"rounds__updates": 6},
    {"rounds__quorum": 2},
    {"rounds__updates": 2},
    {"silos": [SILO]},
    {"silos": [{**SILO, "name": name} for name in "abcd"], "privacy__minCohort": 5},
    {"privacy__minCohort": 2},
    {"rounds__graceSeconds": 601},
    {"rounds__graceSeconds": 600.5},
    {"strategy__name": "FedNova", "rounds__partialUpdates": "Rescale"},
    {"strategy": {"name": "q-FedAvg", "parameters": {"clientLearningRate": 1}}, "rounds__selection": "Uniform"},
    {"strategy": {"name": "q-FedAvg", "parameters": {"clientLearningRate": 1}, "weighting": "Examples"}},
    {"strategy__name": "q-FedAvg"},
    {"strategy__name": "zzz"},
    {"metrics": [{"name": "x", "min": 1, "max": 1}]},
    {"metrics": [{"name": f"m{n}", "min": 0.5, "max": 1} for n in range(17)]},
    {"rounds__stopWhen": {"metric": "loss"}},
    {"rounds__stopWhen": {"metric": "loss", "atMost": 1, "atLeast": 0}},
    {"rounds__stopWhen": {"metric": "loss", "atMost": 1, "plateau": {"patience": 1}}},
    {"rounds__stopWhen": {"atMost": 1}},
    {"rounds__stopWhen": {"plateau": {"patience": 1}}},
    {"rounds__stopWhen": {"metric": "loss", "atLeast": 101}},
    {"rounds__stopWhen": {"metric": "x", "atMost": 5.5}, "metrics": [{"name": "x", "min": 0.25, "max": 5}]},
    {"server__expose__type": "Gateway"},
    {"server__expose__gatewayRef": {"name": "g"}},
    {"model__initial": {"from": "Checkpoint"}},
    {"model__initial": {"uri": "/m"}},
    {"model__output__uri": "s3://key:secret@host/m"},
    {"model__initial": {"from": "Checkpoint", "uri": "s3://key:secret@host/m"}},
    {"model__localParameters": ["*"]},
]


@pytest.mark.parametrize("fields", SAME, ids=str)
def test_what_does_not_go_together_is_said_in_the_words_of_the_runtime(jobs: Asker, fields: dict[str, Any]) -> None:
    data = job(**fields)
    with pytest.raises(JobError) as caught:
        resolve(parse(data))
    assert words(jobs.create(data)) == sorted(str(caught.value).splitlines())


OWN: list[tuple[dict[str, Any], str]] = [
    (
        {"rounds__stopWhen": {"metric": "accuracy", "atLeast": 0.9}},
        "spec.rounds.stopWhen.metric: 'accuracy' is not in spec.metrics; declare it in spec.metrics, or use loss",
    ),
    (
        {**RULE, "strategy__parameters": {"mu": 1}},
        "spec.strategy.parameters: unknown parameter of FedAvgM; use one of serverLearningRate, momentum",
    ),
    (
        {**RULE, "strategy__parameters": {"momentum": 1}},
        "spec.strategy.parameters.momentum: 1 is out of bounds; use at least 0, less than 1",
    ),
    (
        {"strategy__parameters": {"serverLearningRate": 0}},
        "spec.strategy.parameters.serverLearningRate: 0 is out of bounds; use more than 0, at most 1000",
    ),
    (
        {"strategy": {"name": "a:b", "parameters": {"x" * 64: 1}}},
        "spec.strategy.parameters: a name is empty or has more than 63 characters; use 1 to 63",
    ),
    (
        {"server__resources__limits": {"x" * 318: 1}},
        "spec.server.resources.limits: a resource's name has more than 317 characters; use at most 317",
    ),
    ({"silos": [SILO] * 2}, 'spec.silos[1]: Duplicate value: {"name":"a"}'),
    ({"app": {"client": "a:b"}}, "spec.app.image: Required value"),
]


@pytest.mark.parametrize(("fields", "text"), OWN, ids=[text[:60] for _, text in OWN])
def test_other_faults_are_said_too(jobs: Asker, fields: dict[str, Any], text: str) -> None:
    assert text in words(jobs.create(job(**fields)))


def test_the_largest_job_is_within_what_rules_may_cost(jobs: Asker) -> None:
    amounts = {f"example.org/{n}": 1 for n in range(8)}
    silos = [{"name": f"s{n}", "dataset": "d", "resources": {"limits": amounts}} for n in range(1001)]
    metrics = [{"name": f"m{n}", "min": 0, "max": 1} for n in range(16)]
    fields = {"metrics": metrics, "rounds__stopWhen": {"metric": "m15", "atLeast": 1}}
    assert words(jobs.create(job(silos=silos[:1000], **fields))) == []
    assert words(jobs.create(job(silos=silos, **fields))) == [
        "spec.silos: Too many: 1001: must have at most 1000 items"
    ]


@pytest.mark.parametrize("name", ["a" * 41, "a.b"])
def test_a_job_has_a_short_name(jobs: Asker, name: str) -> None:
    (text,) = words(jobs.create(job(name)))
    assert text in {
        "metadata.name: has 41 characters; use at most 40",
        "metadata.name: is not a DNS label; "
        "use lower-case letters, digits and '-', beginning and ending with a letter or digit",
    }


CONDITION: dict[str, Any] = {
    "type": "Progressing",
    "status": "True",
    "reason": "RoundOpen",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 1,
}


class TestStatus:
    def test_columns_tell_the_story(self, crds: Api, jobs: Asker) -> None:
        jobs.create(job("story"), dry_run=False)
        status = {
            "conditions": [CONDITION],
            "round": {"number": 12, "total": 30, "attempt": 1, "progress": "12/30"},
            "silos": {"ready": 3, "total": 4, "summary": "3/4"},
            "endpoint": "grpcs://10.0.0.1:8443",
        }
        patch_status(crds, "fj", "story", status)
        header, line = crds.kubectl("get", "fj", "story", "-n", "rules", "-o", "wide").splitlines()
        assert header.split()[:6] == ["NAME", "STATE", "ROUND", "SILOS", "AGE", "ENDPOINT"]
        assert line.split()[:4] == ["story", "RoundOpen", "12/30", "3/4"]
        assert "grpcs://10.0.0.1:8443" in line

    def test_history_is_short_and_nothing_unknown_is_kept(self, crds: Api, jobs: Asker) -> None:
        jobs.create(job("history"), dry_run=False)
        entry = {
            "round": 1,
            "attempt": 1,
            "outcome": "Committed",
            "seconds": {"train": 1.5},
            "members": {"invited": 4, "full": 3, "partial": 1, "rejected": {"too_late": 0}},
            "examples": 100,
            "metrics": [{"name": "loss", "phase": "train", "value": 0.5}],
        }
        patch_status(crds, "fj", "history", {"history": [entry] * 20})
        with pytest.raises(ClusterError, match="must have at most 20 items"):
            patch_status(crds, "fj", "history", {"history": [entry] * 21})
        patch_status(crds, "fj", "history", {"silo": "a"})
        assert json.loads(crds.kubectl("get", "fj", "history", "-n", "rules", "-o", "json"))["status"].keys() == {
            "history"
        }


def patch_status(api: Api, kind: str, name: str, status: dict[str, Any]) -> None:
    body = json.dumps({"status": status})
    api.kubectl("patch", kind, name, "-n", "rules", "--subresource=status", "--type=merge", "-p", body)


def client(**fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "job": {"name": "digits", "namespace": "default", "uid": "b1a2"},
        "silo": "hospital-a",
        "desiredState": "Running",
        "trustDomain": "umbel.local",
        "app": {"image": "a", "client": "a:b"},
        "dataset": "chest-ct",
        "privacy": {"minCohort": 3, "minExamples": 11},
        "activeDeadlineSeconds": 86_400,
    }
    for path, value in fields.items():
        put(spec, tuple(path.split("__")), value)
    metadata = {"name": "digits-0123456789"}
    return {"apiVersion": "umbel.dev/v1alpha1", "kind": "FederatedClient", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def clients(crds: Api) -> Iterator[Asker]:
    crds.kubectl("create", "namespace", "umbel-silo-hospital-a")
    with asking(crds.kubeconfig, "federatedclients", "umbel-silo-hospital-a") as asker:
        yield asker


def changed(clients: Asker, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    return words(clients.replace(new))


class TestFederatedClient:
    def test_whose_it_is_never_changes(self, clients: Asker) -> None:
        old = dict(clients.create(client(), dry_run=False).body)
        assert old["spec"]["resources"] == {"requests": {}, "limits": {}}
        assert changed(clients, old, client(silo="hospital-b")) == [
            "spec.silo: cannot change; a FederatedClient belongs to one silo for good"
        ]
        assert changed(clients, old, client(job__uid="b1a3")) == [
            "spec.job: cannot change; a FederatedClient belongs to one job for good"
        ]
        server = {"url": "grpcs://10.96.3.4:8443", "name": "digits.default.umbel.internal"}
        later = client(desiredState="Finished", server=server, certificate="PEM", authorities="PEM")
        assert changed(clients, old, later) == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"desiredState": "Gone"},
            {"server": {"url": "http://a", "name": "a"}},
            {"silo": "x" * 51},
            {"dataset": ""},
            {"resources__limits": {"cpu": 0.5}},
            {"certificate": "x" * 65537},
            {"more": 1},
        ],
        ids=str,
    )
    def test_what_no_hub_writes_is_refused(self, clients: Asker, fields: dict[str, Any]) -> None:
        assert not clients.create(client(**fields)).accepted

    def test_columns_say_whose_it_is_and_how_it_goes(self, crds: Api, clients: Asker) -> None:
        clients.create(client(), dry_run=False)  # a list of nothing has no head
        header = crds.kubectl("get", "fc", "-n", "umbel-silo-hospital-a").splitlines()[0]
        assert header.split() == ["NAME", "JOB", "SILO", "READY", "REASON", "AGE"]


@pytest.fixture(scope="module")
def silos(crds: Api) -> Iterator[Asker]:
    with asking(crds.kubeconfig, "silos", None) as asker:
        yield asker


class TestSilo:
    def silo(self, name: str = "hospital-a", **spec: Any) -> dict[str, Any]:
        return {"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "metadata": {"name": name}} | (
            {"spec": spec} if spec else {}
        )

    def test_a_name_is_all_it_needs(self, silos: Asker) -> None:
        assert silos.create(self.silo()).body["spec"] == {"suspend": False, "allowedNamespaces": []}
        assert silos.create(self.silo("a" * 50, suspend=True, allowedNamespaces=["research"])).accepted

    def test_its_name_is_a_short_dns_label(self, silos: Asker) -> None:
        assert words(silos.create(self.silo("a" * 51))) == ["metadata.name: has 51 characters; use at most 50"]
        assert words(silos.create(self.silo("a.b"))) == [
            "metadata.name: is not a DNS label; "
            "use lower-case letters, digits and '-', beginning and ending with a letter or digit"
        ]

    @pytest.mark.parametrize(
        "namespaces", [["A"], ["a", "a"], [f"n{n}" for n in range(257)]], ids=["A", "twice", "many"]
    )
    def test_its_namespaces_are_checked(self, silos: Asker, namespaces: list[str]) -> None:
        assert not silos.create(self.silo(allowedNamespaces=namespaces)).accepted
