"""A federation that is installed as its users install it: by Helm, and by what the charts' notes say."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from umbel_cluster import charts
from umbel_cluster.cluster import Cluster
from umbel_cluster.rest import UMBEL as UMBEL_API

from .conftest import ROOT

UMBEL = ROOT / ".venv/bin/umbel"
HUB, SYSTEM = "umbel", "umbel-system"
SILOS = ("silo-1", "silo-2", "silo-3")
IMAGE = "registry.local/umbel-digits:dev"
PATIENCE = 240.0
LOOK_SECONDS = 0.5

Object = dict[str, Any]


class Installed:
    """``elsewhere``: clusters of silos that do not live in the hub's."""

    def __init__(self, node: Cluster, folder: Path, elsewhere: Mapping[str, Cluster] | None = None) -> None:
        self.node = node
        self.folder = folder
        self.elsewhere = dict(elsewhere or {})

    def home(self, silo: str) -> Cluster:
        return self.elsewhere.get(silo, self.node)

    # ---- Helm

    def helm(self, *args: str | Path, on: Cluster | None = None) -> str:
        return charts.helm(*args, kubeconfig=(on or self.node).kubeconfig)

    def install_hub(self, *args: str, chart: Path = charts.HUB) -> None:
        """The jobs' servers run in `default`."""
        for namespace in (SYSTEM, "default"):
            self._restricted(namespace, self.node)
        self.helm("upgrade", "--install", HUB, chart, "-n", SYSTEM, "--wait", *args)

    def _restricted(self, namespace: str, on: Cluster) -> None:
        """A namespace as the documentation makes it, where Pod Security is enforced."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        on.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(made))

    def install_silo(self, silo: str, *args: str, chart: Path = charts.SILO) -> None:
        """With what the hub's administrator was printed, in a namespace of its own. The last is added, not invited,
        where it can reach the API server as pods do."""
        invited = silo != SILOS[-1] or silo in self.elsewhere
        file = self.folder / f"{silo}.hub"
        if f"Silo/{silo}" not in self.names("silo"):
            how = ["invite", silo] if invited else ["add", silo, "--hub", "https://kubernetes.default.svc"]
            printed = self._umbel("silo", *how, "--kubeconfig", self.node.kubeconfig)
            file.write_text(printed)
        policy = {"approval": "Auto", "images": ["registry.local/*"], "requireDigest": False}
        site = {
            "silo": silo,
            "policy": {**policy, "clients": ["*"], "namespaces": ["*"], "jobs": ["*"]},
            "datasets": {f"digits-{silo.rpartition('-')[2]}-of-10": {}},
        }
        (self.folder / f"{silo}.yaml").write_text(yaml.safe_dump({"site": site}))
        access = "join.bundle" if invited else "hub.kubeconfig"
        given = [f"--values={self.folder / silo}.yaml", f"--set-file={access}={file}"]
        self._restricted(silo, self.home(silo))
        where = ["-n", silo, "--wait"]
        self.helm("upgrade", "--install", "umbel-silo", chart, *where, *given, *args, on=self.home(silo))

    def _umbel(self, *args: str | Path) -> str:
        done = subprocess.run([UMBEL, *args], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # ---- what users see

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.node.kubectl(*args, input=input)

    def items(self, kinds: str, *args: str) -> list[Object]:
        return list(json.loads(self.kubectl("get", kinds, *args, "-o", "json"))["items"])

    def names(self, kinds: str, *args: str) -> set[str]:
        return {f"{item['kind']}/{item['metadata']['name']}" for item in self.items(kinds, *args)}

    def apply_job(self, name: str, total: int, config: Mapping[str, Any] | None = None, **server: Any) -> None:
        """The digits, over three silos; ``config``, ``server``: more of what the app is told, and of that section."""
        manifest = yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())
        spec = manifest["spec"]
        manifest["metadata"]["name"] = name
        spec["app"]["image"] = IMAGE
        spec["silos"] = spec["silos"][: len(SILOS)]
        spec["rounds"]["total"] = total
        spec["app"]["config"].update(config or {})
        spec["server"] = {"checkpoint": {"size": "100Mi"}, **server}
        self.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    def job(self, name: str) -> Object:
        found = self.node.client.find(f"{UMBEL_API}/namespaces/default/federatedjobs/{name}")
        assert found is not None, f"{name} is gone"
        return found

    def condition(self, name: str, type_: str) -> Object:
        found = (self.job(name).get("status") or {}).get("conditions") or ()
        return next((one for one in found if one["type"] == type_), {})

    def round(self, name: str) -> int:
        return int(((self.job(name).get("status") or {}).get("round") or {}).get("number", 0))

    def until(self, true: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := true():
                return found
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"{what}: not within {PATIENCE:.0f} s\n{self.story()}")

    def story(self) -> str:
        """For a person who reads why a test failed."""
        seen = self.kubectl("get", "pod,deploy,sts,job", "-A", "-o", "wide")
        events = self.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp")
        return f"{seen}\n{events[-4000:]}"
