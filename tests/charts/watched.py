"""A Prometheus in a cluster's own network, which finds what it scrapes as Prometheus Operator would find it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
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
def prometheus(node: Cluster, folder: Path, monitors: Sequence[Object]) -> Iterator[Prometheus]:
    """``monitors``: what the charts make for Prometheus Operator."""
    groups = [group for obj in monitors if obj["kind"] == "PrometheusRule" for group in obj["spec"]["groups"]]
    scraped = [discovery(obj, node.kubeconfig_inside) for obj in monitors if obj["kind"] != "PrometheusRule"]
    reached = partial(_reached, node)
    with prometheuses.running(folder, {"groups": groups}, node.popen, reached, scraped) as started:
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


def discovery(monitor: Object, kubeconfig: Path) -> Object:
    """What Prometheus Operator makes of a monitor, as far as the charts' have fields: which Services or pods are looked
    for, by their labels, and the port by its name."""
    spec, meta = monitor["spec"], monitor["metadata"]
    kind, role, port = {
        "ServiceMonitor": ("service", "endpointslice", "endpointslice_port_name"),
        "PodMonitor": ("pod", "pod", "pod_container_port_name"),
    }[monitor["kind"]]
    found: Object = {"role": role, "kubeconfig_file": str(kubeconfig)}
    if not spec.get("namespaceSelector", {}).get("any"):
        found["namespaces"] = {"names": [meta["namespace"]]}
    (endpoint,) = spec["podMetricsEndpoints" if kind == "pod" else "endpoints"]
    wanted = {_label(kind, name): value for name, value in spec["selector"]["matchLabels"].items()}
    wanted[f"__meta_kubernetes_{port}"] = endpoint["port"]
    return {
        "job_name": f"{meta['namespace']}/{meta['name']}",
        "kubernetes_sd_configs": [found],
        "relabel_configs": [
            {"source_labels": [source], "regex": re.escape(value), "action": "keep"} for source, value in wanted.items()
        ],
    }


def _label(kind: str, name: str) -> str:
    return f"__meta_kubernetes_{kind}_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}"
