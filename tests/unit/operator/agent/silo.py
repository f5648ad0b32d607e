"""A silo in memory: a hub that signs, a cluster that keeps what it is told, and the passes of an agent over them."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from umbel.wire.pki import Authority, silo_id
from umbel_operator.agent import federatedclient, identity, site
from umbel_operator.agent.allowance import bounded
from umbel_operator.agent.approvals.decision import Answer
from umbel_operator.agent.backends.kubernetes.actions import Apply, Delete, Label, MakeKey
from umbel_operator.agent.backends.kubernetes.holding import KubernetesHolding, Seen
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.plan import Clocks, Plan
from umbel_operator.agent.policy import decide
from umbel_operator.agent.reconcile import farewell, reconcile, unread
from umbel_operator.conditions import timestamp

Object = dict[str, Any]

NAMESPACE = "clients"
NOW = 1_800_000_000.0
UID = "0f3c2a9e-1111-2222-3333-444455556666"
NAME = "digits-abcdefghij"
IMAGE = "registry.example.org/acme/ct@sha256:" + "0" * 64
UNASKED = {"approval": "Auto", "clients": ["*"], "namespaces": ["*"], "jobs": ["*"]}
KEY = identity.new_key()  # making one takes longer than all the rest of a test


def site_file(**parts: Any) -> site.Site:
    whole = {
        "silo": "hospital-a",
        "policy": {"images": ["registry.example.org/acme/*"], "requireDigest": False, **UNASKED},
        "datasets": {"chest-ct": {"volumeClaim": "ct-2026", "subPath": "chest"}, "named": {}},
    }
    return site.parse({**whole, **parts})


def federated_client(*, status: Object | None = None, uid: str = UID, **spec: Any) -> Object:
    whole = {
        "job": {"name": "digits", "namespace": "default", "uid": uid},
        "silo": "hospital-a",
        "desiredState": "Running",
        "trustDomain": "umbel.local",
        "app": {"image": IMAGE, "client": "ct.client:app"},
        "dataset": "named",
        "privacy": {"minCohort": 3, "minExamples": 11},
        "activeDeadlineSeconds": 86_400,
        "server": {"url": "grpcs://10.96.3.4:8443", "name": "digits.default.umbel.internal"},
    }
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedClient",
        "metadata": {"name": NAME, "namespace": "umbel-silo-hospital-a", "generation": 1, "uid": "fc"},
        "spec": {key: value for key, value in {**whole, **spec}.items() if value is not None},
        "status": status or {},
    }


def client(**parts: Any) -> FederatedClient:
    return federatedclient.read(federated_client(**parts))


def ended(code: int, message: str = "", reason: str = "Error") -> Object:
    return {"exitCode": code, "reason": reason, "message": message}


def pod(name: str = "client-1", *, uid: str = UID, state: Object | None = None, last: Object | None = None) -> Object:
    status: Object = {"phase": "Running"}
    if state is not None or last is not None:
        container = {"name": "client", "state": state or {}, "lastState": {"terminated": last} if last else {}}
        status["containerStatuses"] = [container]
    labels = {"umbel.dev/client": NAME, "umbel.dev/job-uid": uid}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": "2027-01-15T08:00:00Z"}, "status": status}


RUNNING = {"running": {"startedAt": "2027-01-15T07:00:00Z"}}


class World:
    """What an agent's passes make of one FederatedClient. The hub signs what it is asked when `sign` is called."""

    def __init__(self, ca: Path, site_: site.Site | None = None, **spec: Any) -> None:
        self.authority = Authority.create(ca)
        self.site = site_ or site_file()
        self.fc = federated_client(authorities=self.authority.bundle.decode(), **spec)
        self.objects: dict[tuple[str, str], Object] = {}
        self.pods: list[Object] = []
        self.now = NOW
        self.finished_since: float | None = None
        self.gone = False
        self.answers: dict[str, Answer] = {}

    def change(self, **spec: Any) -> None:
        merged = {**self.fc["spec"], **spec}
        self.fc["spec"] = {key: value for key, value in merged.items() if value is not None}
        self.fc["metadata"]["generation"] += 1

    def sign(self, *, uri: str | None = None, hours: float = 24.0) -> None:
        """As the hub: whatever the request names, this silo's certificate."""
        asked = x509.load_pem_x509_csr(self.fc["status"]["certificateRequest"].encode())
        uri = uri or silo_id("umbel.local", "hospital-a")
        found = self.authority._sign(asked.public_key(), uri, (), hours)
        shift = self.now - datetime.datetime.now(datetime.UTC).timestamp()
        if abs(shift) > 60:
            found = self._shifted(found, datetime.timedelta(seconds=shift))
        pem = found.public_bytes(identity.serialization.Encoding.PEM).decode()
        self.change(certificate=pem, authorities=self.authority.bundle.decode())

    def _shifted(self, found: x509.Certificate, shift: datetime.timedelta) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(found.subject)
            .issuer_name(found.issuer)
            .public_key(found.public_key())
            .serial_number(found.serial_number)
            .not_valid_before(found.not_valid_before_utc + shift)
            .not_valid_after(found.not_valid_after_utc + shift)
        )
        for extension in found.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self.authority.key, identity.hashes.SHA256())

    def seen(self) -> Seen:
        def of(kind: str) -> tuple[Object, ...]:
            return tuple(obj for (k, _), obj in sorted(self.objects.items()) if k == kind)

        kinds = ("Deployment", "Secret", "NetworkPolicy", "PersistentVolumeClaim")
        return Seen(*(of(kind) for kind in kinds), pods=tuple(self.pods))

    def holding(self, client: FederatedClient | None) -> KubernetesHolding:
        return KubernetesHolding(client, self.site, self.seen(), NAMESPACE)

    def plan(self) -> Plan:
        if self.gone:
            return farewell(self.holding(None))
        try:
            read = federatedclient.read(self.fc)
        except ValueError:
            return unread(self.holding(None))
        if read.desired == "Finished" and self.finished_since is None:
            self.finished_since = self.now
        holding = self.holding(read)
        decision = bounded(read, decide(read, self.site, self.answers), self.site.policy, holding.begun, self.now)
        return reconcile(read, decision, holding, Clocks(self.now, self.finished_since))

    def one_pass(self) -> Plan:
        plan = self.plan()
        for action in plan.actions:
            self.do(action)
        if plan.status is not None:
            self.fc["status"] = plan.status
        return plan

    def settle(self) -> int:
        """Passes until there is nothing to write; how many wrote something."""
        for number in range(12):
            if not self.one_pass().writes:
                return number
        raise AssertionError("the passes do not come to rest")

    def do(self, action: object) -> None:
        match action:
            case Apply(obj):
                key = obj["kind"], obj["metadata"]["name"]
                before = self.objects.get(key, {})
                made = {"creationTimestamp": timestamp(self.now), **before.get("metadata", {})}["creationTimestamp"]
                merged = {**before, **obj, "metadata": {**obj["metadata"], "creationTimestamp": made}}
                if obj["kind"] == "Secret":
                    merged["data"] = {**before.get("data", {}), **obj.get("data", {})}
                self.objects[key] = merged
            case MakeKey(secret):
                key = "Secret", secret["metadata"]["name"]
                self.objects.setdefault(key, {**secret, "data": {"tls.key": base64.b64encode(KEY).decode()}})
            case Delete(kind, name, _):
                self.objects.pop((kind, name), None)
            case Label(kind, name, labels):
                obj = self.objects[kind, name]
                merged_labels = {**obj["metadata"]["labels"], **labels}
                kept = {key: value for key, value in merged_labels.items() if value is not None}
                self.objects[kind, name] = {**obj, "metadata": {**obj["metadata"], "labels": kept}}

    # ---- what a test asks

    def kinds(self) -> list[str]:
        return sorted(kind for kind, _ in self.objects)

    def one(self, kind: str) -> Object:
        (found,) = [obj for (k, _), obj in self.objects.items() if k == kind]
        return found

    @property
    def replicas(self) -> int:
        return int(self.one("Deployment")["spec"]["replicas"])

    def said(self, type_: str) -> tuple[str, str]:
        found = {entry["type"]: entry for entry in self.fc["status"]["conditions"]}
        return found[type_]["status"], found[type_]["reason"]
