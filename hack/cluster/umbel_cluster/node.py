"""The node of a cluster: containerd, kubelet and kube-proxy, with their configuration."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from . import archives
from .layout import Layout
from .pki import Authority
from .processes import Components
from .tools import ClusterError, built, cache, installed, kubernetes

PAUSE = "registry.local/pause:1"
PLUGINS = Path("/usr/lib/cni")


class Node:
    def __init__(self, layout: Layout, components: Components, authority: Authority, url: str) -> None:
        self._layout = layout
        self._components = components
        self._folder = layout.folder / "node"
        self._folder.mkdir()
        node_user = f"system:node:{layout.node}"
        self._kubelet_config = authority.kubeconfig(self._folder / "kubelet.kubeconfig", url, node_user, "system:nodes")
        self._proxy_config = authority.kubeconfig(self._folder / "proxy.kubeconfig", url, "system:kube-proxy")
        self._serving = authority.issue(layout.node, hosts=[layout.node, layout.node_ip])
        self._authority = authority.certificate
        components.commands["containerd"] = [installed("containerd"), f"--config={self._containerd()}"]
        components.commands["kubelet"] = self._kubelet()
        components.commands["kube-proxy"] = self._proxy()

    def start_containerd(self) -> None:
        self._components.start("containerd")
        self._components.await_ready("containerd", lambda: succeeds(self.ctr("version")))
        import_image(self._layout, stored(PAUSE, built("pause") / "pause"))

    def ctr(self, *args: str) -> list[str]:
        return ctr(self._layout, *args)

    def _containerd(self) -> Path:
        folder = self._layout.folder / "containerd"
        network = self._folder / "cni"
        network.mkdir()
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": self._layout.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": str(self._folder / "addresses"),
            },
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        conflist = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
        (network / "10-pods.conflist").write_text(json.dumps(conflist))
        path = self._folder / "containerd.toml"
        path.write_text(
            f"""version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{self._layout.containerd}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
disable_apparmor = true
disable_hugetlb_controller = true
restrict_oom_score_adj = true # or no pod starts where CAP_SYS_RESOURCE is missing
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "{network}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{installed("runc")}"
SystemdCgroup = false
"""
        )
        return path

    def _kubelet(self) -> list[str]:
        certificate, key = self._serving
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._layout.node_ip,
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(self._authority)}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._layout.cgroup}",
            "clusterDNS": [self._layout.dns],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{self._layout.containerd}",
            # A process that a test kills again and again is not waited for five minutes.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
            "featureGates": {"KubeletCrashLoopBackOffMax": True},
            "syncFrequency": "5s",  # what of a Secret has changed is soon in the pods
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "nodeLeaseDurationSeconds": 20,
            "resolvConf": "",
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
        }
        return [
            kubernetes("kubelet"),
            f"--config={_json(self._folder / 'kubelet.json', configuration)}",
            f"--kubeconfig={self._kubelet_config}",
            f"--root-dir={self._layout.folder / 'kubelet'}",
            f"--node-ip={self._layout.node_ip}",
            f"--hostname-override={self._layout.node}",
        ]

    def _proxy(self) -> list[str]:
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self._proxy_config)},
            "hostnameOverride": self._layout.node,
            "detectLocalMode": "BridgeInterface",
            "detectLocal": {"bridgeInterface": "cni0"},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "metricsBindAddress": "127.0.0.1:10249",
            "healthzBindAddress": "127.0.0.1:10256",
        }
        return [kubernetes("kube-proxy"), f"--config={_json(self._folder / 'proxy.json', configuration)}"]


def ctr(layout: Layout, *args: str) -> list[str]:
    return [installed("ctr"), f"--address={layout.containerd}", "--namespace=k8s.io", *args]


def import_image(layout: Layout, archive: Path) -> None:
    """It is there by its name and by its digest."""
    name, by_digest = archives.named(archive)
    for command in ("import", str(archive)), ("tag", "--force", name, by_digest):
        done = subprocess.run(ctr(layout, "images", *command), capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"{archive} cannot be imported: {done.stderr.strip()}")


def stored(reference: str, program: Path) -> Path:
    """The image of a program that is built here, kept beside it."""
    path = cache() / "images" / f"{program.parent.name}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        archives.of_program(path, reference, program)
    return path


def succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _json(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path
