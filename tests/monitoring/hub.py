"""A hub without a kubelet: a real API server and operator, and what nodes and agents would do is done here, with the
real server and client processes.

Services have addresses of loopback, so that what the operator dials is where the server listens.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.hub import PATIENCE, UMBEL, install, until
from process.harness import APP, Control, Processes
from umbel_cluster.plane import ControlPlane, Ports, kubectl
from umbel_cluster.processes import Components, free_port, stopping
from umbel_cluster.tools import ClusterError

from umbel.wire import pki
from umbel_operator import names
from umbel_operator.agent.heartbeat import lease

SERVICES = "127.96.0.0/16"
BEAT_SECONDS = 5.0
LONG = 3 * PATIENCE


class Hub:
    """``silos``: known to the hub from the start."""

    def __init__(self, control: ControlPlane, processes: Processes, silos: list[str]) -> None:
        self.kubeconfig = control.kubeconfig
        self.client = control.client
        self.folder = control.folder
        self.processes = processes
        self.plain = f"127.0.0.1:{free_port()}"
        self._components = control.components
        self._start_api = control.start_api
        self._beating: set[str] = set()
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat)
        install(self, silos)  # type: ignore[arg-type]  # what it needs is here
        self._heart.start()

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return kubectl(self.kubeconfig, *args, input=input)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def listed(self, kinds: str, job: str) -> list[dict[str, Any]]:
        found = json.loads(self.kubectl("get", kinds, "-A", "-l", f"{names.JOB}={job}", "-o", "json"))
        return list(found["items"])

    def start_operator(self) -> subprocess.Popen[str]:
        """Returns once it has its own numbers."""
        arguments = ["hub", "run", "--kubeconfig", self.kubeconfig, "--http", self.plain]
        return self.processes.start(arguments, program=(UMBEL,), output=self.folder / "operator.log")

    def apply(self, obj: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", input=json.dumps(obj))

    @contextlib.contextmanager
    def without_api(self) -> Iterator[None]:
        """The API server is away for as long as the block lasts."""
        self.agents()
        self._components.stop("apiserver", signal.SIGKILL)
        try:
            yield
        finally:
            self._start_api()

    # ---- what an agent does

    def agents(self, *silos: str) -> None:
        """These, and no others, report that they are alive."""
        self._beating = set(silos)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            for silo in sorted(self._beating):
                said = lease(names.silo_namespace(silo), "test", "1", "kubernetes", ["any"], time.time())
                with contextlib.suppress(ClusterError):  # one beat is no matter
                    self.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(said))

    def close(self) -> None:
        self._stop.set()
        self._heart.join()


class Job:
    """A FederatedJob of the `controlled` client, once the operator has made what belongs to it."""

    def __init__(self, hub: Hub, manifest: dict[str, Any], folder: Path) -> None:
        self.name = manifest["metadata"]["name"]
        self.control = Control(folder / "control")
        self.metrics = ""
        self._hub = hub
        self._folder = folder
        self._clients: dict[str, tuple[list[Any], subprocess.Popen[str]]] = {}
        hub.apply(manifest)
        self.uid = hub.get("federatedjob", self.name)["metadata"]["uid"]

    @property
    def status(self) -> dict[str, Any]:
        return self._hub.get("federatedjob", self.name).get("status") or {}

    # ---- what a node does

    def start_server(self) -> subprocess.Popen[str]:
        hub, name = self._hub, self.name
        until(lambda: len(hub.listed("sts,cm,svc,pod", name)) >= 5, "the server's objects", LONG)
        tls, state = self._folder / "server-tls", self._folder / "state"
        tls.mkdir(exist_ok=True)
        for file, text in hub.get("secret", names.server_tls(name))["data"].items():
            (tls / file).write_bytes(b64decode(text))
        job = self._folder / "job.json"
        job.write_text(hub.get("configmap", names.server(name))["data"]["job.json"])
        federation, admin = (hub.get("svc", s)["spec"]["clusterIP"] for s in (names.server(name), names.admin(name)))
        self.metrics = f"{admin}:9090"
        arguments = [
            *("server", "--job", job, "--state", state, "--uid", self.uid, "--tls", tls),
            *("--path", APP, "--path", Path(__file__).parent / "app"),
            *("--listen", f"grpcs://{federation}:8443", "--admin", f"{admin}:9443", "--http", self.metrics),
            *("--operator", pki.operator_id(pki.TRUST_DOMAIN)),
        ]
        environment = {"UMBEL_TEST_CONTROL": str(self.control.folder)}
        process = hub.processes.start(arguments, environment=environment, output=self._folder / "server.log")
        self._container({"running": {}}, restarts=0)
        return process

    def end_with(self, process: subprocess.Popen[str]) -> None:
        """The server's process has ended, and again each time that it was started."""
        message = (self._folder / "server.log").read_text()[-2000:]
        self._container({"terminated": {"exitCode": process.wait(LONG), "message": message}}, restarts=5)

    def _container(self, state: dict[str, Any], restarts: int) -> None:
        (pod,) = self._hub.listed("pod", self.name)
        container = {"state": state, "name": "server", "image": "-", "imageID": "-", "ready": "running" in state}
        self._patch("pod", pod, {"status": {"containerStatuses": [{**container, "restartCount": restarts}]}})

    def _patch(self, kind: str, obj: dict[str, Any], body: dict[str, Any]) -> None:
        meta = obj["metadata"]
        where = (meta["name"], "-n", meta["namespace"])
        self._hub.kubectl("patch", kind, *where, "--subresource=status", "--type=merge", "-p", json.dumps(body))

    # ---- what an agent does

    def start_clients(self, silos: list[str]) -> None:
        hub = self._hub
        until(lambda: len(hub.listed("fc", self.name)) >= len(silos), "the FederatedClients", LONG)
        for client in hub.listed("fc", self.name):
            if client["spec"]["silo"] in silos:
                self._start_client(client)

    def _start_client(self, client: dict[str, Any]) -> None:
        silo, meta = client["spec"]["silo"], client["metadata"]
        folder = self._folder / silo
        (folder / "tls").mkdir(parents=True, exist_ok=True)
        request, key = pki.new_request()
        condition = {"reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        conditions = [{"type": type_, "status": "True", **condition} for type_ in ("Accepted", "Ready")]
        self._patch("fc", client, {"status": {"certificateRequest": request.decode(), "conditions": conditions}})

        def signed() -> dict[str, Any] | None:
            spec: dict[str, Any] = self._hub.get("fc", meta["name"], meta["namespace"])["spec"]
            return spec if spec.get("certificate") and (spec.get("server") or {}).get("url") else None

        spec = until(signed, f"a certificate for {silo}", LONG)
        files = {"tls.crt": spec["certificate"], "ca.crt": spec["authorities"], "tls.key": key.decode()}
        for name, text in files.items():
            (folder / "tls" / name).write_text(text)
        arguments = [
            *("client", "--server", spec["server"]["url"], "--server-name", spec["server"]["name"]),
            *("--tls", folder / "tls", "--path", APP, "--client", "controlled:app", "--silo", silo),
            *("--dataset", spec["dataset"], "--state", folder / "state"),
        ]
        self._begin(silo, arguments)

    def _begin(self, silo: str, arguments: list[Any]) -> None:
        environment = {"UMBEL_TEST_CONTROL": str(self.control.folder)}
        output = self._folder / silo / "log"
        process = self._hub.processes.start(arguments, environment=environment, output=output)
        self._clients[silo] = arguments, process

    def restart_ended(self) -> None:
        """Clients whose processes have ended are started again."""
        for silo, (arguments, process) in list(self._clients.items()):
            if process.poll() is not None:
                self._begin(silo, arguments)


@contextlib.contextmanager
def running(folder: Path, processes: Processes, silos: list[str]) -> Iterator[Hub]:
    ports = Ports(*(free_port() for _ in range(5)))
    with stopping(Components(folder / "logs")) as components:
        control = ControlPlane(folder, components, "127.0.0.1", [], ports, services=SERVICES)
        control.start("controller-manager")
        hub = Hub(control, processes, silos)
        try:
            yield hub
        finally:
            hub.close()
            processes.end()  # before the API server that they talk to
