"""An operator process against an API server without nodes, and one small job."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umbel_cluster import charts, rest, tools
from umbel_cluster.api import Api

ROOT = Path(__file__).parents[2]
UMBEL = ROOT / ".venv/bin/umbel"
PATIENCE = 60.0
# The API server's garbage collector looks for new kinds of objects every 30 s, and until it knows FederatedJobs it
# tries again after pauses that double (kubernetes/pkg/controller/garbagecollector): a minute after an installation.
COLLECTED = 120.0
KINDS = (
    "/apis/apps/v1/statefulsets",
    "/apis/networking.k8s.io/v1/networkpolicies",
    *(f"/api/v1/{kind}" for kind in ("services", "configmaps", "secrets", "persistentvolumeclaims", "serviceaccounts")),
    f"{rest.UMBEL}/federatedclients",
)


class Operator:
    """``kubeconfig``, ``options``, ``environment``: what it is started with, each time."""

    def __init__(self, kubeconfig: Path, folder: Path, *options: str) -> None:
        self.kubeconfig = kubeconfig
        self.environment: dict[str, str] | None = None
        self._options = options
        self._log = folder / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [UMBEL, "hub", "run", "--kubeconfig", self.kubeconfig, "--http", "127.0.0.1:0", *self._options]
            self._process = subprocess.Popen(command, stderr=log, env=self.environment)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


def manifest(name: str, silos: list[str], namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "app": {"image": "registry.local/umbel-digits:dev", "client": "client:app"},
            "rounds": {"total": 5},
            "silos": [{"name": silo, "dataset": "digits"} for silo in silos],
            **spec,
        },
    }


def install(api: Api, silos: list[str]) -> None:
    """What is there already, stays."""
    api.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    api.kubectl("apply", "--server-side", "-f", "-", input=charts.account(charts.HUB, "umbel-system"))
    for silo in silos:
        if api.client.find(f"{rest.UMBEL}/silos/{silo}"):
            continue
        subprocess.run(
            [UMBEL, "silo", "add", silo, "--kubeconfig", api.kubeconfig], check=True, stdout=subprocess.DEVNULL
        )


def gateways(api: Api) -> None:
    """The Gateway API's own definitions, of its standard channel; nothing here serves them."""
    files = [
        tools.built("gateway-api") / f"gateway.networking.k8s.io_{kind}.yaml" for kind in ("gateways", "tlsroutes")
    ]
    named = [word for file in files for word in ("-f", str(file))]
    api.kubectl("apply", "--server-side", *named)
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", *named)


def until(
    true: Callable[[], Any],
    what: str,
    seconds: float = PATIENCE,
    told: Callable[[], str] = lambda: "",
    every: float = 0.1,
) -> Any:
    """A look may be a program's start: no more than half of the time goes into looking."""
    end = time.monotonic() + seconds
    while (looked := time.monotonic()) < end:
        if found := true():
            return found
        time.sleep(max(every, time.monotonic() - looked))
    raise AssertionError(f"{what}: not within {seconds:.0f} s\n{told()}")


def made(api: Api, job: str) -> dict[str, Any]:
    """What there is of a job: kind, namespace, name → what it is about, without what the API server makes up."""
    listed = [item for kind in KINDS for item in api.client.listed(kind, f"umbel.dev/job={job}")]
    return {f"{i['kind']} {i['metadata']['namespace']}/{i['metadata']['name']}": i for i in listed}


def condition(api: Api, job: str, type_: str) -> dict[str, Any]:
    """Of a job's status; empty while it is not there."""
    return next((entry for entry in status(api, job).get("conditions", ()) if entry["type"] == type_), {})


def status(api: Api, job: str) -> dict[str, Any]:
    found = api.client.find(f"{rest.UMBEL}/namespaces/default/federatedjobs/{job}") or {}
    return dict(found.get("status") or {})


def clients(api: Api, job: str) -> list[dict[str, Any]]:
    return api.client.listed(f"{rest.UMBEL}/federatedclients", f"umbel.dev/job={job}")
