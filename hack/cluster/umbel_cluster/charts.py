"""The charts, rendered and installed by Helm itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from .tools import CHECKOUT, ClusterError, built

HUB, SILO = CHECKOUT / "helm/umbel-hub", CHECKOUT / "helm/umbel-silo"
ACCOUNT = ("rbac.yaml", "serviceaccount.yaml")
Object = dict[str, Any]


def helm(*args: str | Path, kubeconfig: Path | None = None, seconds: float = 900) -> str:
    """What Helm prints; raises what it complains about."""
    reach = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    command = [str(built("helm") / "helm"), *map(str, args), *reach]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise ClusterError(f"helm {' '.join(map(str, args))}: {done.stderr.strip()}\n{done.stdout.strip()}".strip())
    return done.stdout


def rendered(chart: Path, *args: str | Path, release: str = "umbel", namespace: str = "umbel-system") -> list[Object]:
    """The objects that the chart would make, without a cluster."""
    text = helm("template", release, chart, f"--namespace={namespace}", *args)
    return [obj for obj in yaml.safe_load_all(text) if obj]


def account(chart: Path, namespace: str, *args: str, release: str = "umbel") -> str:
    """The chart's account and its rights alone, for a program that runs outside a pod; for kubectl apply."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    own: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    shown = [f"--show-only=templates/{name}" for name in ACCOUNT]
    made = rendered(chart, *shown, *args, release=release, namespace=namespace)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [own, *made]})
