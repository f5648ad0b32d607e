"""The site file: what it may hold, and what is said of one that is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from umbel_operator.agent import site
from umbel_operator.agent.site import SiteError

WHOLE = """
silo: hospital-a
policy:
  images: ["registry.example.org/acme/*@sha256:*"]
  clients: ["ct.*"]
  namespaces: ["research"]
  jobs: ["ct-*"]
datasets:
  chest-ct: {volumeClaim: ct-2026, subPath: chest/2026, jobs: ["ct-*"], namespaces: ["research"]}
  digits-1-of-4: {}
  digits-2-of-4:
pods:
  imagePullPolicy: Always
  imagePullSecrets: [registry]
  env: {HTTPS_PROXY: "http://proxy:3128"}
  nodeSelector: {gpu: "true"}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  runtimeClassName: nvidia
  labels: {team: radiology}
  annotations: {example.org/note: hello}
  defaults: {requests: {cpu: 1}, limits: {memory: 4Gi}}
  ceilings: {cpu: 8, memory: 32Gi, nvidia.com/gpu: 1}
state: {size: 5Gi, storageClassName: fast, accessModes: [ReadWriteOnce]}
retainState: false
network: {egress: [{cidr: 10.1.0.0/16, ports: [3128]}, {cidr: "2001:db8::/32"}]}
"""


def faults(data: dict[str, Any]) -> list[str]:
    with pytest.raises(SiteError) as error:
        site.parse({"silo": "a", **data})
    return str(error.value).splitlines()


def test_every_field(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(WHOLE)
    found = site.load(file)
    assert found.silo == "hospital-a"
    assert found.datasets["chest-ct"].sub_path == "chest/2026"
    assert found.datasets["digits-1-of-4"] == found.datasets["digits-2-of-4"]
    assert found.pods.ceilings["cpu"] == "8"
    assert not found.retain_state


def test_the_least_of_them_allows_nothing() -> None:
    found = site.parse({"silo": "hospital-a"})
    assert found.policy.images == ()
    assert found.policy.jobs == ("*",)
    assert found.datasets == {}
    assert found.retain_state


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"silo": None}, "silo: is missing; add it: Name of the silo, as the hub knows it"),
        ({"silo": "a" * 51}, "silo: has 51 characters; use at most 50"),
        ({"polcy": {}}, "polcy: unknown field; did you mean policy?"),
        ({"policy": {"image": []}}, "policy.image: unknown field; did you mean images?"),
        (
            {"policy": {"requireDigest": False}},
            "policy: has requireDigest false under approval Manual: a tag may be another image than the one approved; "
            "leave it out, or write approval Auto",
        ),
        ({"policy": {"images": "*"}}, "policy.images: is a string; write a list ([…], or lines that begin with -)"),
        ({"policy": {"images": [""]}}, "policy.images[0]: has 0 characters; use at least 1"),
        (
            {"policy": {"images": ["a b"]}},
            "policy.images[0]: 'a b' is not a pattern; write a name or a pattern like acme-*, without blanks",
        ),
        ({"datasets": []}, "datasets: is a list; write a mapping (key: value)"),
        ({"datasets": {"ct": {"volume": "x"}}}, "datasets.ct.volume: unknown field; did you mean volumeClaim?"),
        ({"datasets": {"ct": "x"}}, "datasets.ct: is a string; write a mapping (key: value)"),
        (
            {"datasets": {"ct": {"subPath": "x"}}},
            "datasets.ct.subPath: is given without a volume; give volumeClaim too",
        ),
        (
            {"datasets": {"ct": {"volumeClaim": "x", "subPath": "../y"}}},
            "datasets.ct.subPath: '../y' is not a path inside the volume; write it like scans/2026",
        ),
        (
            {"datasets": {"c t": {}}},
            "datasets: the key 'c t' is not a name; "
            "use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
        ),
        ({"datasets": {7: {}}}, "datasets: the key 7 is a number; put it in quotes"),
        (
            {"pods": {"ceilings": {"cpu": "many"}}},
            "pods.ceilings.cpu: 'many' is not a quantity; write it like 500m, 2 or 10Gi",
        ),
        (
            {"pods": {"imagePullPolicy": "always"}},
            "pods.imagePullPolicy: is 'always', not one of Always, IfNotPresent, Never; did you mean Always?",
        ),
        (
            {"pods": {"env": {"A": True}}},
            "pods.env.A: true is a boolean, as are yes, no, on and off in YAML; put it in quotes",
        ),
        (
            {"pods": {"env": {"A-B": "x"}}},
            "pods.env: the key 'A-B': 'A-B' is not the name of a variable; write it like HTTPS_PROXY",
        ),
        (
            {"network": {"egress": [{"cidr": "10.0.0.0/8", "ports": [0]}]}},
            "network.egress[0].ports[0]: 0 is less than 1; use at least 1",
        ),
        ({"state": {"accessModes": []}}, "state.accessModes: has 0 entries; give at least 1"),
        ({"retainState": "no"}, "retainState: 'no' is a string; write true or false"),
    ],
)
def test_faults_name_the_field_and_the_remedy(data: dict[str, Any], line: str) -> None:
    assert faults(data) == [line]


def test_an_address_range_that_is_none() -> None:
    (line,) = faults({"network": {"egress": [{"cidr": "10.0.0.1/8"}]}})
    assert line.startswith("network.egress[0].cidr: '10.0.0.1/8' is not a range of addresses (")
    assert line.endswith("; write it like 10.1.0.0/16")


ELIGIBILITY = {"windows": [{"opens": "22:00", "closes": "06:00"}], "maxLoad": 0.25, "onLoss": "Decline"}


def test_eligibility_is_a_section_of_its_own() -> None:
    found = site.parse({"silo": "a", "eligibility": ELIGIBILITY}).eligibility
    assert found is not None
    assert (found.max_load, found.windows[0].opens, found.on_loss) == (0.25, "22:00", "Decline")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"windows": [{"opens": "22:00"}]},
            "eligibility.windows[0].closes: is missing; add it: Time of day like 06:00",
        ),
        ({"idleSecs": 5}, "eligibility.idleSecs: unknown field; did you mean idleSeconds?"),
        ({"charging": "yes"}, "eligibility.charging: 'yes' is a string; write true or false"),
        (
            {"windows": [{"opens": "22:00", "closes": "06:00", "days": ["Monday"]}]},
            "eligibility.windows[0].days[0]: is 'Monday', not one of Mon, Tue, Wed, Thu, Fri, Sat, Sun; "
            "did you mean Mon?",
        ),
    ],
)
def test_faults_of_eligibility(section: dict[str, Any], line: str) -> None:
    assert faults({"eligibility": section}) == [line]


@pytest.mark.parametrize(
    ("backend", "more", "fields"),
    [
        ("kubernetes", {}, ["idleSeconds", "unmeteredInterfaces"]),
        ("process", {"process": {"python": "/usr/bin/python3"}}, []),
        ("slurm", {"slurm": {"python": "/usr/bin/python3"}}, []),
        ("slurm", {"slurm": {"container": {}}}, ["idleSeconds"]),
    ],
)
def test_what_a_client_in_a_container_cannot_measure_is_refused(
    backend: site.BackendName, more: dict[str, Any], fields: list[str]
) -> None:
    rules = {"idleSeconds": 60, "unmeteredInterfaces": ["en*"], "charging": True}
    found = site.parse({"silo": "a", "eligibility": rules, **more})
    said = ""
    try:
        site.check_backend(found, backend)
    except SiteError as error:
        said = str(error)
    assert [line.partition(":")[0] for line in said.splitlines()] == [f"eligibility.{field}" for field in fields]


def test_all_faults_are_told_at_once() -> None:
    assert len(faults({"silo": "A", "datasets": {"a": {"x": 1}, "b": []}, "network": 3})) == 4


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_file_that_is_no_mapping(data: object) -> None:
    with pytest.raises(SiteError, match=r"the site file: is .*; write a mapping with silo, policy, datasets"):
        site.parse(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("silo: a\nsilo: b\n", "the key silo is given twice"),
        ("silo: [", "is not YAML"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("silo: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(SiteError, match=words) as error:
        site.load(file)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="no such file; name a silo's site file"):
        site.load(tmp_path / "none.yaml")


def test_the_examples_of_the_documentation() -> None:
    text = (Path(__file__).parents[4] / "docs" / "site.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert site.parse(yaml.safe_load(block)).silo == "hospital-a"
