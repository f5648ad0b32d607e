"""A Prometheus in a cluster's own network, which finds what it scrapes as Prometheus Operator would find it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from monitoring.prometheus import Prometheus
from umbel_cluster.cluster import Cluster

from monitoring import prometheus as prometheuses

from .conftest import ROOT

Object = dict[str, Any]


@contextmanager
def prometheus(node: Cluster, folder: Path, rules: Mapping[str, Any]) -> Iterator[Prometheus]:
    with prometheuses.running(folder, rules, node.popen, partial(_reached, node)) as started:
        yield started


@contextmanager
def _reached(node: Cluster, port: int) -> Iterator[int]:
    """A port of the host's loopback for one of the cluster's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "umbel_cluster.forward", str(listener.fileno()), "127.0.0.1", str(port)]
        relay: subprocess.Popen[Any] = node.popen(command, pass_fds=[listener.fileno()], cwd=ROOT / "hack/cluster")
        try:
            yield listener.getsockname()[1]
        finally:
            relay.terminate()
            relay.wait()


@contextmanager
def collector(node: Cluster, folder: Path, port: int) -> Iterator[None]:
    """In the node's own network, so that pods reach it at the node's address."""
    folder.mkdir()
    script = Path(__file__).with_name("collector.py")
    with (folder / "log").open("wb") as log:
        process = node.popen([sys.executable, str(script), str(port), str(folder)], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def addresses(node: Cluster, monitor: Object) -> set[str]:
    """Of a ServiceMonitor, the Services that it selects; of a PodMonitor the pods; each with the port that it names."""
    spec, pods = monitor["spec"], monitor["kind"] == "PodMonitor"
    where = ["-A"] if spec.get("namespaceSelector", {}).get("any") else ["-n", monitor["metadata"]["namespace"]]
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
    found = node.kubectl("get", "pod" if pods else "service", *where, "-l", selector, "-o", "json")
    (endpoint,) = spec["podMetricsEndpoints" if pods else "endpoints"]
    return {
        f"{_address(item, pods)}:{port['containerPort' if pods else 'port']}"
        for item in json.loads(found)["items"]
        for port in _ports(item, pods)
        if port.get("name") == endpoint["port"] and _address(item, pods)
    }


def _address(item: Object, pod: bool) -> str:
    return str(item["status"].get("podIP", "") if pod else item["spec"]["clusterIP"])


def _ports(item: Object, pod: bool) -> list[Object]:
    if not pod:
        return list(item["spec"]["ports"])
    return [port for container in item["spec"]["containers"] for port in container.get("ports", ())]
