"""A control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pki import Authority
from .processes import Components
from .rest import Client
from .tools import ClusterError, installed, kubernetes


@dataclass(frozen=True)
class Ports:
    etcd: int = 2379
    etcd_peer: int = 2380
    api: int = 6443
    controllers: int = 10257
    scheduler: int = 10259


ADMINISTRATOR = "umbel-cluster-admin"


@dataclass
class ControlPlane:
    folder: Path
    components: Components
    address: str  # where the API server listens
    hosts: list[str]  # further names and addresses that its certificate is for
    ports: Ports
    services: str  # the Services' range of addresses
    nodes: bool = False
    audit: Path | None = None  # where the API server writes down who did what

    def __post_init__(self) -> None:
        self.url = f"https://{self.address}:{self.ports.api}"
        self.authority = Authority(self.folder / "pki")
        self.kubeconfig = self.authority.kubeconfig(
            self.folder / "admin.kubeconfig", self.url, ADMINISTRATOR, "system:masters"
        )
        self.client = administrator(self.authority, self.address, self.ports.api)
        commands = self.components.commands
        commands["etcd"] = self._etcd()
        commands["apiserver"] = self._api()
        commands["controller-manager"] = self._controllers()
        commands["scheduler"] = self._scheduler()

    def start(self, *others: str) -> None:
        """etcd and the API server, ready; of `others` controller-manager and scheduler."""
        self.components.start("etcd")
        self.start_api()
        for name in others:
            self.components.start(name)
        if "controller-manager" in others:
            self.await_controllers()

    def start_api(self) -> None:
        self.components.start("apiserver")
        self.components.await_ready("apiserver", lambda: self.client.status("GET", "/readyz") == 200)

    def await_controllers(self) -> None:
        """The first pod of a namespace is refused before its service account is there."""
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self.components.await_ready("controller-manager", lambda: self.client.status("GET", path) == 200)

    def _etcd(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.ports.etcd, self.ports.etcd_peer))
        return [
            installed("etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",  # nobody's data outlives the machine here
            "--logger=zap",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _api(self) -> list[str]:
        service_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        own = [self.address, "127.0.0.1", "localhost", *service_names, "kubernetes.default.svc.cluster.local"]
        certificate, key = self.authority.issue("kube-apiserver", hosts=[*dict.fromkeys([*own, *self.hosts])])
        client, client_key = self.authority.issue("apiserver-kubelet-client", group="system:masters")
        tokens = self.authority.signing_key("service-accounts")
        return [
            kubernetes("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.api}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-client-certificate={client}",
            f"--kubelet-client-key={client_key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={self.services}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            *(self._audited(self.audit) if self.audit else []),
            # A loopback address cannot be the endpoint of the Service `kubernetes`.
            *([] if self.nodes else ["--endpoint-reconciler-type=none"]),
        ]

    def _audited(self, log: Path) -> list[str]:
        policy = self.folder / "audit-policy.yaml"
        rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
        policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")
        whole = "--audit-log-maxsize=100000"  # MiB; what was rotated away would not be counted
        return [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking", whole]

    def _controllers(self) -> list[str]:
        kubeconfig = self.authority.kubeconfig(
            self.folder / "controller-manager.kubeconfig", self.url, "system:kube-controller-manager"
        )
        return [
            kubernetes("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports.controllers}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            f"--root-ca-file={self.authority.certificate}",
            f"--cluster-signing-cert-file={self.authority.certificate}",
            f"--cluster-signing-key-file={self.authority.folder / 'ca.key'}",
            "--node-monitor-grace-period=20s",
            "--profiling=false",
        ]

    def _scheduler(self) -> list[str]:
        kubeconfig = self.authority.kubeconfig(self.folder / "scheduler.kubeconfig", self.url, "system:kube-scheduler")
        return [
            kubernetes("kube-scheduler"),
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports.scheduler}",
            "--leader-elect=false",
            "--profiling=false",
        ]


def administrator(authority: Authority, address: str, port: int) -> Client:
    """Of a control plane that has a kubeconfig already."""
    certificate, key = authority.issue(ADMINISTRATOR)
    return Client(address, port, authority.certificate, certificate, key)


def kubectl(kubeconfig: Path, *args: str, input: str | None = None, seconds: float = 120) -> str:
    """What kubectl prints; raises what it complains about."""
    cache = kubeconfig.parent / "kubectl-cache"
    command = [kubernetes("kubectl"), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *args]
    given: Any = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **given)
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return str(done.stdout)
