"""A hub in memory: an API server that fills in what one does, silos, a server that answers; and passes over one job."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from umbel_operator import names
from umbel_operator.digest import Applied, stored
from umbel_operator.hub.kept import kept, packed, unpacked
from umbel_operator.hub.observed import Observed, ServerSight, Silo, Tls, Told, key
from umbel_operator.hub.plan import Announce, Apply, Delete, Plan, SetStatus, Tell
from umbel_operator.hub.reconcile import reconcile
from umbel_operator.hub.settings import Settings

Object = dict[str, Any]

NOW = 1_800_000_000.0
UID = "0f3c2a9e-1111-2222-3333-444455556666"
SILOS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
SETTINGS = Settings()


def federated_job(**spec: Any) -> Object:
    whole = {
        "app": {"client": "digits.client:app", "image": "registry.example.org/digits:1"},
        "silos": [{"name": name, "dataset": "digits"} for name in SILOS],
        "rounds": {"total": 3, "updates": 3, "quorum": 3},
    }
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": "digits", "namespace": "default", "uid": UID, "generation": 1},
        "spec": {name: value for name, value in {**whole, **spec}.items() if value is not None},
    }


def record(number: int, **more: Any) -> Object:
    """A released round, as /status has it."""
    whole = {"round": number, "attempt": 1, "outcome": "Committed", "reason": "", "started": NOW + number}
    counts = dict.fromkeys(("declined", "timedOut", "lost", "rejected"), 0)
    members = {"invited": 4, "full": 4, "partial": 0, **counts}
    sums = {"examples": 400, "updateNorm": 0.5, "train": {"loss": 0.25}, "evaluate": {}, "withheld": {}}
    return {**whole, "seconds": {"train": 1.5}, **members, **sums, "bytesUp": 9, "bytesDown": 8, **more}


class World:
    def __init__(self, **spec: Any) -> None:
        self.obj = federated_job(**spec)
        self.now = NOW
        self.silos = {name: Silo(name, datasets=("digits",), alive=True) for name in SILOS}
        self.objects: dict[Any, Object] = {}
        self.clients: dict[str, Object] = {}
        self.applied: dict[Any, Applied] = {}
        self.pod: Object | None = None
        self.pod_node_lost: float | None = None
        self.server: Object | None = None
        self.told: Told | None = None
        self.refusing: set[str] = set()
        self.events: list[Announce] = []
        self.balancer: str | None = None
        self.deleted: list[Delete] = []
        self.keeps_little = False  # passes see what the operator keeps of objects, not the whole of them

    # ---- what happens

    def change(self, **spec: Any) -> None:
        self.obj = {**self.obj, "spec": {**self.obj["spec"], **spec}}
        self.obj["metadata"] = {**self.obj["metadata"], "generation": self.obj["metadata"]["generation"] + 1}

    def silo(self, name: str, **facts: Any) -> None:
        self.silos[name] = replace(self.silos[name], **facts)

    def serve(self, phase: str = "Training", rounds: int = 0, epoch: int = 1, **more: Any) -> None:
        """The server's container runs and answers."""
        if self.pod is None:
            return
        self.pod["status"] = {"containerStatuses": [{"state": {"running": {}}}]}
        history = [record(number) for number in range(1, rounds + 1)]
        model = {"round": rounds, "digest": "sha256:0", "path": "/state/job/model"} if rounds else {}
        said = {"reason": "", "message": "", "history": history, "metrics": {}, "model": model, "output": None}
        self.server = {"uid": UID, "epoch": epoch, "phase": phase, **said, **more}

    def ends(self, code: int = 0, message: str = "", restarts: int = 0) -> None:
        """The server's process ends."""
        assert self.pod is not None
        end = {"exitCode": code, "message": message, "finishedAt": "2027-01-15T08:00:00Z"}
        self.pod["status"] = {"containerStatuses": [{"state": {"terminated": end}, "restartCount": restarts}]}
        self.server = None

    def agents(self) -> None:
        """Each silo that is alive reports."""
        for client in self.clients.values():
            silo = client["spec"]["silo"]
            if silo not in self.silos or not self.silos[silo].alive:
                continue
            desired = client["spec"]["desiredState"]
            accepted = {"type": "Accepted", "status": "True", "reason": "PolicyAllows"}
            ready = {"type": "Ready", "status": str(desired == "Running"), "reason": desired}
            if silo in self.refusing:
                accepted = {"type": "Accepted", "status": "False", "reason": "ImageNotAllowed"}
            client["status"] = {"conditions": [accepted, ready]}

    # ---- passes

    def observed(self) -> Observed:
        return Observed(
            objects=self.objects,
            pod=self.pod,
            pod_node_lost=self.pod_node_lost,
            route_version="gateway.networking.k8s.io/v1",
            clients=self.clients,
            silos=self.silos,
            server=ServerSight(self.server),
            tls=Tls("certificate", "key", "bundle"),
            bundle="bundle",
            applied=self.applied,
            told=self.told,
        )

    def plan(self) -> Plan:
        before = copy.deepcopy((self.obj, self.objects, self.clients))
        observed = small(self.observed()) if self.keeps_little else self.observed()
        plan = reconcile(self.obj, observed, SETTINGS, self.now)
        assert before == (self.obj, self.objects, self.clients), "a pass changes nothing of what it was shown"
        return plan

    def one_pass(self) -> Plan:
        plan = self.plan()
        for action in plan.actions:
            self.do(action)
        return plan

    def settle(self, *, agents: bool = True) -> int:
        """Passes until nothing is wanted; how many wanted something."""
        for number in range(12):
            if agents:
                self.agents()
            if not self.one_pass().actions:
                return number
        raise AssertionError("the passes do not come to rest")

    def do(self, action: Any) -> None:
        match action:
            case Apply(obj):
                self._apply(copy.deepcopy(obj))
            case Delete("FederatedClient", _, name):
                self.deleted.append(action)
                del self.clients[name]
            case Delete("StatefulSet", namespace, name):
                self.deleted.append(action)
                del self.objects["StatefulSet", namespace, name]
            case Delete("Pod"):
                self.deleted.append(action)
                self.pod, self.server, self.pod_node_lost = _pod(), None, None
            case Tell(told):
                self.told = told
            case SetStatus(status):
                self.obj = {**self.obj, "status": copy.deepcopy(status)}
            case Announce():
                self.events.append(action)

    def _apply(self, obj: Object) -> None:
        place: Object = self.objects
        index: Any = key(obj)
        if obj["kind"] == "FederatedClient":
            place, index = self.clients, obj["metadata"]["name"]
        live = place.get(index, {})
        obj["metadata"].setdefault("uid", f"uid of {obj['metadata']['name']}")
        if obj["kind"] == "Service":
            obj["spec"]["clusterIP"] = "10.96.3.4"
            obj["status"] = {"loadBalancer": {"ingress": [{"ip": self.balancer}] if self.balancer else []}}
        if "status" in live:
            obj["status"] = live["status"]
        place[index] = obj
        self.applied[key(obj)] = Applied(obj["metadata"]["annotations"][names.DIGEST], stored(obj))
        if obj["kind"] == "StatefulSet":
            if not obj["spec"]["replicas"]:
                self.pod = self.server = None
            elif self.pod is None:
                self.pod = _pod()

    # ---- what a test asks

    def kinds(self) -> list[str]:
        return sorted(kind for kind, _, _ in self.objects)

    def one(self, kind: str) -> Object:
        return self.objects[kind, "default", "digits-server"]

    @property
    def replicas(self) -> int:
        return int(self.one("StatefulSet")["spec"]["replicas"])

    @property
    def status(self) -> Object:
        return dict(self.obj["status"])

    def said(self, type_: str) -> tuple[str, str]:
        found = self.condition(type_)
        return found["status"], found["reason"]

    def condition(self, type_: str) -> Object:
        return next(entry for entry in self.status["conditions"] if entry["type"] == type_)

    def has(self, type_: str) -> bool:
        return any(entry["type"] == type_ for entry in self.status["conditions"])

    def desired(self) -> dict[str, str]:
        return {client["spec"]["silo"]: client["spec"]["desiredState"] for client in self.clients.values()}


def small(observed: Observed) -> Observed:
    """As an operator has it that has looked before."""
    return replace(
        observed,
        objects={index: kept(obj) for index, obj in observed.objects.items()},
        clients=unpacked(packed({name: kept(obj) for name, obj in observed.clients.items()})),
        pod=None if observed.pod is None else kept(observed.pod),
    )


def _pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "digits-server-0", "namespace": "default", "uid": "pod"},
        "spec": {},
        "status": {},
    }


def started(**spec: Any) -> World:
    """A job that trains in four silos."""
    world = World(**spec)
    world.settle()
    world.serve()
    world.settle()
    return world
