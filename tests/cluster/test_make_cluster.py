"""What `make cluster` promises: a node on which pods, names, volumes and Services work, and nothing left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from umbel_cluster import base, cgroups, layout
from umbel_cluster.cluster import Cluster, down
from umbel_cluster.processes import until
from umbel_cluster.tools import CHECKOUT, ClusterError, cache

pytestmark = pytest.mark.cluster

SERVE = "import http.server as h; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).status)"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_a_pod_serves_by_a_service_name_from_a_volume_and_to_another_cluster(
    cluster_a: Cluster, cluster_b: Cluster
) -> None:
    with namespace(cluster_a) as at_a, namespace(cluster_b) as at_b:
        apply(cluster_a, at_a, claim("data"), service("web"), pod("web", SERVE, volume="data"))
        ready(cluster_a, at_a, "web")
        port = cluster_a.kubectl("get", "service", "web", "-n", at_a, "-o", "jsonpath={.spec.ports[0].nodePort}")

        apply(cluster_a, at_a, pod("near", FETCH, f"http://web.{at_a}.svc.cluster.local:8080/"))
        apply(cluster_b, at_b, pod("far", FETCH, f"http://{cluster_a.node_ip}:{port}/"))

        assert output(cluster_a, at_a, "near") == "200"
        assert output(cluster_b, at_b, "far") == "200"
        assert cluster_a.kubectl("get", "pvc", "data", "-n", at_a, "-o", "jsonpath={.status.phase}") == "Bound"
        inside = [sys.executable, "-c", FETCH, f"http://{cluster_a.node_ip}:{port}/"]
        with cluster_b.popen(inside, stdout=subprocess.PIPE, text=True) as process:
            assert process.communicate()[0].strip() == "200"


def test_a_volume_goes_with_its_claim(cluster_a: Cluster) -> None:
    with namespace(cluster_a) as at:
        apply(cluster_a, at, claim("data"), pod("writer", "open('/data/it', 'w').write('kept')", volume="data"))
        output(cluster_a, at, "writer")
        apply(cluster_a, at, pod("reader", "print(open('/data/it').read())", volume="data"))
        assert output(cluster_a, at, "reader") == "kept"

        name = cluster_a.kubectl("get", "pvc", "data", "-n", at, "-o", "jsonpath={.spec.volumeName}")
        cluster_a.kubectl("delete", "pod,pvc", "--all", "-n", at)
        cluster_a.kubectl("wait", "--for=delete", f"persistentvolume/{name}", "--timeout=60s")
        until(lambda: not (cluster_a.folder / "volumes" / name).exists(), "the volume's folder gone")


def test_pod_security_is_enforced(cluster_a: Cluster) -> None:
    with namespace(cluster_a) as at, pytest.raises(ClusterError, match="violates PodSecurity"):
        apply(cluster_a, at, pod("web", SERVE, runAsNonRoot=False))


def test_a_killed_component_comes_back(cluster_a: Cluster) -> None:
    with namespace(cluster_a) as at:
        apply(cluster_a, at, pod("web", SERVE))
        ready(cluster_a, at, "web")
        before = cluster_a.processes(at, "web")
        for component in ("apiserver", "kubelet"):
            cluster_a.kill(component)
            cluster_a.start(component)
        cluster_a.kubectl("delete", "pod", "web", "-n", at, "--grace-period=1", "--timeout=60s")
        assert before
        assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("end", ["make cluster-down", "its supervisor is killed"])
def test_nothing_is_left(cluster_a: Cluster, end: str) -> None:
    name = f"test-{os.getpid()}-gone"
    before = traces()
    try:
        assert "ready after" in make("cluster", name)
        assert "runs already" in make("cluster", name)
        own = Cluster(layout_of(name))
        own.import_image(base.archive())
        with namespace(own, remove=False) as at:
            apply(own, at, claim("data"), pod("web", SERVE, volume="data"))
            ready(own, at, "web")
        network = network_of(own.processes(at, "web")[0])
        if end != "make cluster-down":
            os.kill(int((own.folder / "supervisor.pid").read_text()), signal.SIGKILL)
            until(lambda: not processes_in(network), "the end of all processes")
        make("cluster-down", name)
        assert processes_in(network) == []
        assert not own.folder.exists()
        assert cgroups.traces(f"umbel-{name}") == []
        assert traces() == before
    finally:
        down(name)


# ---- what is asked of a cluster


@contextlib.contextmanager
def namespace(cluster: Cluster, *, remove: bool = True) -> Iterator[str]:
    name = f"promises-{os.urandom(3).hex()}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    meta = {"name": name, "labels": labels}
    apply(cluster, "default", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    cluster.import_image(base.archive())
    yield name
    if remove:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def apply(cluster: Cluster, namespace: str, *objects: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    # A namespace's first pod may come before its service account.
    until(lambda: attempted(cluster, namespace, json.dumps(listed)), "applied", 20)


def attempted(cluster: Cluster, namespace: str, objects: str) -> bool:
    try:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", input=objects)
    except ClusterError as error:
        if "serviceaccount" not in str(error):
            raise
        return False
    return True


def ready(cluster: Cluster, namespace: str, pod: str) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "-n", namespace, "--timeout=60s")


def output(cluster: Cluster, namespace: str, pod: str) -> str:
    """What a pod has said when it has ended well."""
    path = "jsonpath={.status.phase}"
    cluster.kubectl("wait", f"--for={path}=Succeeded", f"pod/{pod}", "-n", namespace, "--timeout=60s")
    return cluster.kubectl("logs", pod, "-n", namespace).strip()


def pod(name: str, code: str, *args: str, volume: str = "", **security: Any) -> dict[str, Any]:
    mounts = [{"name": "data", "mountPath": "/data"}] if volume else []
    container = {
        "name": "it",
        "image": base.REFERENCE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", code, *args],
        "securityContext": RESTRICTED | security,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"fsGroup": 65532},
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}] if volume else [],
        },
    }


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> dict[str, Any]:
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


# ---- what is left of one


def make(target: str, name: str) -> str:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--silent", target, f"NAME={name}"]
    done = subprocess.run(command, cwd=CHECKOUT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def layout_of(name: str) -> layout.Layout:
    found = layout.load(name)
    assert found
    return found


def network_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def processes_in(network: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if network_of(int(path.name)) == network:
                found.append(int(path.name))
    return found


def traces() -> dict[str, Any]:
    """What a node's programs are known to leave on their host. Another test may be building an image meanwhile."""
    folders = ["/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/var/log/pods", "/run/containerd"]
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounts = [target for target in mounted if not Path(target).is_relative_to(cache() / "buildah")]
    return {
        "folders": [folder for folder in (*folders, "/run/netns", "/etc/cni", "/opt/cni") if Path(folder).exists()],
        "mounts": sorted(mounts),
        "interfaces": sorted(os.listdir("/sys/class/net")),
    }
