"""What the pods of a job are made of, and whom they talk to."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from umbel_cluster.cluster import Cluster

from .federation import ROOT, SILOS, Federation, Object
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

WITH_PYTHON = {"pip", "setuptools"}  # a virtual environment brings them


def test_connections_are_those_of_the_policies_and_versions_those_of_the_lock_file(federation: Federation) -> None:
    with federation.job("looked-into", rounds__total=ENDLESS) as job:
        job.until_round(1)
        server = job.server_pod()
        assert server is not None
        at_hub = pod(federation.hub, server, job.server_processes())
        silos = [pod(federation.cluster_of(s), job.client_pods(s)[0], job.client_processes(s)) for s in SILOS]
        for each in (at_hub, *silos):
            let_through(each)
        assert 8443 in at_hub.came
        assert not at_hub.went
        assert all(silo.went and not silo.came for silo in silos)
        for each in (at_hub, *silos):
            locked(each)


@dataclass(frozen=True)
class Pod:
    """``came``: ports of it that others connected to; ``went``: ports elsewhere that it connected to."""

    policies: list[Object]
    root: Path
    came: set[int]
    went: set[int]


def pod(cluster: Cluster, found: Object, processes: list[int]) -> Pod:
    first, meta = processes[0], found["metadata"]
    policies = json.loads(cluster.kubectl("get", "networkpolicy", "-n", meta["namespace"], "-o", "json"))["items"]
    own = [p["spec"] for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= meta["labels"].items()]
    listens = {here for here, _ in sockets(first, "--listening")}
    connected = sockets(first)
    came = {here for here, _ in connected if here in listens}
    went = {there for here, there in connected if here not in listens}
    return Pod(own, Path(f"/proc/{first}/root"), came, went)


def sockets(process: int, *options: str) -> list[tuple[int, int]]:
    """Ports here and there, of TCP in the network of a process; also of connections that were closed a minute ago."""
    command = ["nsenter", f"--net=/proc/{process}/ns/net", "ss", "--no-header", "--tcp", "--numeric"]
    states = options or ("state", "connected")
    lines = subprocess.run([*command, *states], check=True, capture_output=True, text=True).stdout.splitlines()
    return [(port(here), port(there)) for *_, here, there in map(str.split, lines)]


def port(address: str) -> int:
    number = address.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def let_through(seen: Pod) -> None:
    (policy,) = seen.policies
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert seen.came <= ports(policy.get("ingress", []))
    assert seen.went <= ports(policy.get("egress", []))


def ports(rules: list[dict[str, Any]]) -> set[int]:
    for rule in rules:
        assert rule["ports"], "a rule without ports lets everything through"
    return {entry["port"] for rule in rules for entry in rule["ports"] if entry["protocol"] == "TCP"}


def locked(seen: Pod) -> None:
    """What pip has installed into the image is as constraints.txt has it, the example's own needs too."""
    wanted: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition(";")[0].strip().partition("==")
        wanted.setdefault(name, set()).add(version)
    there = {}
    for folder in seen.root.glob("opt/umbel/lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        there[re.sub(r"[-_.]+", "-", name).lower()] = version
    assert "scikit-learn" in there
    assert {n: v for n, v in there.items() if n in wanted.keys() - WITH_PYTHON and v not in wanted[n]} == {}
