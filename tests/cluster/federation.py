"""A hub operator and four silos' agents, as processes in the networks of two clusters; and what a user does there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from umbel_cluster import charts
from umbel_cluster.cluster import Cluster
from umbel_cluster.rest import UMBEL as UMBEL_API

from .scrape import Scrape

ROOT = Path(__file__).parents[2]
UMBEL = ROOT / ".venv/bin/umbel"
IMAGE = "registry.local/umbel-digits:dev"
SILOS = ("silo-1", "silo-2", "silo-3", "silo-4")
PATIENCE = 120.0  # for what takes seconds on an idle machine
# What is promised, in seconds: until who is no longer of a job has no session, and until nothing is left of a job.
OUT_SECONDS, GONE_SECONDS = 5.0, 30.0
OPERATOR_HTTP = "127.0.0.1:18080"  # in the network of the hub's cluster
JOIN = "127.0.0.1:18444"  # there too
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

Object = dict[str, Any]


def unasked(*images: str) -> Object:
    """A policy under which jobs with these images run without anybody's approval."""
    everything = {key: ["*"] for key in ("clients", "namespaces", "jobs")}
    return {"approval": "Auto", "requireDigest": False, "images": list(images), **everything}


class Federation:
    """Silos 1 and 2 live in the hub's cluster, 3 and 4 in the other."""

    def __init__(self, hub: Cluster, other: Cluster, folder: Path) -> None:
        self.hub = hub
        self.other = other
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def cluster_of(self, silo: str) -> Cluster:
        return self.hub if silo in SILOS[:2] else self.other

    # ---- the control plane

    def start(self) -> None:
        self.hub.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        self.hub.kubectl("apply", "--server-side", "-f", "-", input=charts.account(charts.HUB, "umbel-system"))
        # A pod of a server that is not `restricted` would be refused, as in the silos' namespaces.
        self.hub.kubectl("label", "namespace", "default", *(f"{key}={value}" for key, value in RESTRICTED.items()))
        self.start_operator()
        for silo in SILOS:
            self.join(silo)
            self.start_agent(silo)

    def start_operator(self) -> None:
        """As its own account: what the shipped role does not grant, it cannot do."""
        token = self.hub.kubectl("create", "token", "umbel-operator", "-n", "umbel-system", "--duration=24h").strip()
        config = yaml.safe_load(Path(self.hub.kubeconfig_inside).read_text())
        config["users"][0]["user"] = {"token": token}
        path = self.folder / "operator.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        self.spawn(self.hub, "operator", "hub", "run", "--kubeconfig", path, "--http", OPERATOR_HTTP, "--join", JOIN)

    def umbel(self, *words: Any) -> str:
        """What a command of the hub's administrator says."""
        command = [UMBEL, *map(str, words), "--kubeconfig", self.hub.kubeconfig]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def join(self, silo: str) -> None:
        inside = yaml.safe_load(Path(self.hub.kubeconfig_inside).read_text())["clusters"][0]["cluster"]["server"]
        (self.folder / f"{silo}.kubeconfig").write_text(self.umbel("silo", "add", silo, "--hub", inside))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": silo, "labels": RESTRICTED}}
        self.cluster_of(silo).kubectl("apply", "-f", "-", input=json.dumps(namespace))
        self.write_site(silo)

    def write_site(self, silo: str, **more: Any) -> None:
        number = silo.rpartition("-")[2]
        site = {
            "silo": silo,
            "policy": unasked("registry.local/*"),
            "datasets": {f"digits-{number}-of-10": {}},
            **more,
        }
        (self.folder / f"{silo}.site.yaml").write_text(yaml.safe_dump(site))

    @contextmanager
    def sites(self, more: Mapping[str, Object]) -> Iterator[None]:
        """By silo, what its site file says more. An agent reads that when it starts."""
        self._rewrite(more)
        try:
            yield
        finally:
            self._rewrite({silo: {} for silo in more})

    def _rewrite(self, sites: Mapping[str, Object]) -> None:
        for silo, more in sites.items():
            self.kill(silo)
            self.write_site(silo, **more)
            self.start_agent(silo)

    @contextmanager
    def suspended(self, silo: str) -> Iterator[None]:
        self._suspend(silo, True)
        try:
            yield
        finally:
            self._suspend(silo, False)

    def _suspend(self, silo: str, value: bool) -> None:
        body = json.dumps({"spec": {"suspend": value}})
        self.hub.kubectl("patch", "silo", silo, "--type=merge", "-p", body)

    def start_agent(self, silo: str) -> None:
        cluster = self.cluster_of(silo)
        files = {"--site": f"{silo}.site.yaml", "--hub": f"{silo}.kubeconfig"}
        options = [word for name, file in files.items() for word in (name, self.folder / file)]
        own = ["--kubeconfig", cluster.kubeconfig_inside, "--namespace", silo]
        self.spawn(cluster, silo, "agent", "run", *options, *own)

    def kill(self, name: str) -> None:
        """The operator, or a silo's agent: without a chance to say goodbye."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def spawn(self, cluster: Cluster, name: str, *words: Any, variables: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            options = {"stdout": log, "stderr": log, "env": {**os.environ, **(variables or {})}}
            self.processes[name] = cluster.popen([str(UMBEL), *map(str, words)], **options)

    # ---- jobs

    def left(self, job: str) -> list[str]:
        """All that is there of a job, but for what is kept on purpose: the model's volume, the silos' states. Each
        begins with its namespace."""
        own = ("pod", "deployment", "statefulset", "service", "secret", "configmap", "networkpolicy", "serviceaccount")
        found = []
        for cluster, kinds in ((self.hub, (*own, "fc")), (self.other, own)):
            listed = cluster.kubectl("get", ",".join(kinds), "-A", "-l", f"umbel.dev/job={job}", "-o", "json")
            found += [(item["metadata"], item["kind"]) for item in json.loads(listed)["items"]]
        return [f"{meta['namespace']} {kind} {meta['name']}" for meta, kind in found]

    @contextmanager
    def job(self, name: str, **changes: Any) -> Iterator[Job]:
        """The digits over four silos, applied; deleted at the end."""
        manifest = yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())
        spec = manifest["spec"]
        manifest["metadata"]["name"] = name
        spec["app"]["image"] = IMAGE
        spec["silos"] = spec["silos"][:4]
        spec["server"] = {"expose": {"type": "NodePort"}, "checkpoint": {"size": "100Mi"}}
        for path, value in changes.items():
            where = spec
            *parents, last = path.split("__")
            for part in parents:
                where = where.setdefault(part, {})
            where[last] = value
        job = Job(self, name, manifest)
        job.apply()
        try:
            yield job
        except BaseException:
            print(job.story())
            raise
        finally:
            self.hub.kubectl("delete", "fj", name, "--ignore-not-found", "--wait=false")


class Job:
    def __init__(self, federation: Federation, name: str, manifest: Object) -> None:
        self.federation = federation
        self.name = name
        self.manifest = manifest

    def apply(self) -> None:
        self.federation.hub.kubectl("apply", "-f", "-", input=json.dumps(self.manifest))

    def patch(self, **spec: Any) -> None:
        body = json.dumps({"spec": spec})
        self.federation.hub.kubectl("patch", "fj", self.name, "--type=merge", "-p", body)

    def get(self) -> Object:
        found = self.federation.hub.client.find(f"{UMBEL_API}/namespaces/default/federatedjobs/{self.name}")
        assert found is not None, f"{self.name} is gone"
        return found

    @property
    def status(self) -> Object:
        return dict(self.get().get("status") or {})

    @property
    def uid(self) -> str:
        return str(self.get()["metadata"]["uid"])

    def condition(self, type_: str) -> Object:
        return next((c for c in self.status.get("conditions", ()) if c["type"] == type_), {})

    def clients(self) -> dict[str, Object]:
        """FederatedClients by silo."""
        found = self.federation.hub.client.listed(f"{UMBEL_API}/federatedclients", f"umbel.dev/job={self.name}")
        return {item["spec"]["silo"]: item for item in found}

    def first_round(self) -> Object:
        """What the history tells of round 1 once it is committed; everybody is waited for before it opens."""
        return dict(self.until(lambda job: job.history(1), "round 1 committed", 2 * PATIENCE))

    def history(self, number: int) -> Object | None:
        told = self.status.get("history", ())
        return next((r for r in told if (r["round"], r["outcome"]) == (number, "Committed")), None)

    def ready(self, silo: str) -> Object:
        return next((c for c in self._conditions(silo) if c["type"] == "Ready"), {})

    def accepted(self, silo: str) -> Object:
        return next((c for c in self._conditions(silo) if c["type"] == "Accepted"), {})

    def finished(self, silo: str) -> str:
        """What became of the final model, by what the silo says."""
        return next((str(c["reason"]) for c in self._conditions(silo) if c["type"] == "Finished"), "")

    def model_kept(self, silo: str) -> bool:
        """Whether the silo says that it has the final model."""
        return self.finished(silo) == "ModelKept"

    def _conditions(self, silo: str) -> list[Object]:
        """Of its FederatedClient."""
        return list((self.clients().get(silo, {}).get("status") or {}).get("conditions") or ())

    def until(self, true: Callable[[Job], Any], what: str, seconds: float = PATIENCE) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := true(self):
                return found
            time.sleep(0.25)
        raise AssertionError(f"{self.name}: {what}: not within {seconds:.0f} s")

    def until_round(self, number: int) -> None:
        self.until(lambda job: job.status.get("round", {}).get("number", 0) >= number, f"round {number}")

    def until_mid_round(self) -> int:
        """The number of a round that trains. It has been open for a second: its server has it on disk. And it has not
        been for two and a half: of one of seconds there is time left."""
        timeout = self.get()["spec"]["rounds"]["timeoutSeconds"]

        def number(job: Job) -> int | None:
            seen = job.server_metrics()
            opened = seen.value("fl_round_deadline_timestamp_seconds") - timeout
            trains = seen.value("fl_job_status_phase", phase="Training") and 1.0 <= time.time() - opened <= 2.5
            return int(seen.value("fl_job_round")) + 1 if trains else None

        return int(self.until(number, "the middle of a round"))

    def until_ended(self) -> str:
        """Complete or Failed."""
        ended = ("Complete", "Failed")
        found = self.until(
            lambda job: next((t for t in ended if job.condition(t).get("status") == "True"), None), "an end"
        )
        return str(found)

    def until_complete(self) -> None:
        assert self.until_ended() == "Complete", self.condition("Failed")

    def client_pods(self, silo: str) -> list[Object]:
        cluster = self.federation.cluster_of(silo)
        return cluster.client.listed(f"/api/v1/namespaces/{silo}/pods", f"umbel.dev/job={self.name}")

    def client_pod(self, silo: str) -> str:
        """The name of the one that runs."""
        return str(self.until(lambda job: _running(job.client_pods(silo)), f"a client in {silo}"))

    def client_log(self, silo: str) -> str:
        return self.federation.cluster_of(silo).kubectl("logs", self.client_pod(silo), "-n", silo)

    def client_processes(self, silo: str) -> list[int]:
        return self.federation.cluster_of(silo).processes(silo, self.client_pod(silo), "client")

    def connected(self) -> int:
        return int(self.server_metrics().value("fl_silos", state="connected"))

    def server_metrics(self) -> Scrape:
        admin = f"/api/v1/namespaces/default/services/{self.name}-admin:9090/proxy/metrics"
        return Scrape(self.federation.hub.client.text(admin))

    def server_pod(self) -> Object | None:
        selector = f"umbel.dev/job={self.name},umbel.dev/component=server"
        return next(iter(self.federation.hub.client.listed("/api/v1/namespaces/default/pods", selector)), None)

    def server_restarts(self) -> int:
        statuses = ((self.server_pod() or {}).get("status") or {}).get("containerStatuses") or ()
        return sum(status["restartCount"] for status in statuses)

    def server_processes(self) -> list[int]:
        return self.federation.hub.processes("default", f"{self.name}-server-0")

    def story(self) -> str:
        """For a person who reads why a test failed."""
        hub = self.federation.hub
        said = [hub.kubectl("get", "fj,fc,pod,pvc", "-A"), hub.kubectl("describe", "fj", "-A")[-3000:]]
        said += [f"--- {name}\n{self.federation.log(name)[-2000:]}" for name in self.federation.processes]
        return "\n".join(said)


def _running(pods: list[Object]) -> str | None:
    return next(
        (
            pod["metadata"]["name"]
            for pod in pods
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ),
        None,
    )
