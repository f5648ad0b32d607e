"""The server's StatefulSet: one replica, the job's image, Pod Security `restricted`."""

from __future__ import annotations

from umbel.job import FederatedJob
from umbel.wire.pki import operator_id
from umbel_operator import names, restricted
from umbel_operator.hub.manifests import tracing
from umbel_operator.hub.manifests.common import SERVER, Identity, Object, meta
from umbel_operator.hub.settings import Settings

FEDERATION, ADMIN, PLAIN = 8443, 9443, 9090
STOP_SECONDS = 30
NODE_SECONDS = 30  # of a node that does not answer, until the pod is replaced

# Limits are required where nothing is said; what a job needs, it says.
DEFAULT_RESOURCES: Object = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "2", "memory": "4Gi"},
}
# An update that was folded is to leave no byte in memory: freed memory is overwritten, at once and in one heap.
MEMORY = {
    "MALLOC_PERTURB_": "85",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
    "PYTHONMALLOC": "malloc",
    "MALLOC_ARENA_MAX": "2",
}
# The same initial model everywhere, whatever the node's number of cores.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def stateful_set(job: Identity, spec: FederatedJob, settings: Settings, replicas: int) -> Object:
    labels = {**job.labels, names.COMPONENT: SERVER}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": meta(job, names.server(job.name)),
        "spec": {
            "replicas": replicas,
            "serviceName": names.admin(job.name),
            "podManagementPolicy": "Parallel",  # a pod that never became ready must not block its own replacement
            "selector": {"matchLabels": dict(job.pod_labels)},
            "template": {"metadata": {"labels": labels}, "spec": _pod(job, spec, settings)},
        },
    }


def _pod(job: Identity, manifest: FederatedJob, settings: Settings) -> Object:
    server = manifest.spec.server
    pod: Object = {
        "serviceAccountName": names.server(job.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": restricted.pod(),
        "tolerations": [
            {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": s}
            for state, s in (("not-ready", NODE_SECONDS), ("unreachable", NODE_SECONDS))
        ],
        "containers": [_container(job, manifest, settings)],
        "volumes": [
            {"name": "model", "persistentVolumeClaim": {"claimName": names.model_volume(job.name, job.uid)}},
            {"name": "job", "configMap": {"name": names.server(job.name)}},
            {"name": "tls", "secret": {"secretName": names.server_tls(job.name), "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if server.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in server.image_pull_secrets]
    return pod


def _container(job: Identity, manifest: FederatedJob, settings: Settings) -> Object:
    spec = manifest.spec
    container: Object = {
        "name": SERVER,
        "image": spec.app.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["umbel", "server"],
        "args": [
            *("--job", "/etc/umbel/job.json"),
            *("--state", "/state/job"),  # a folder of its own: a file system's lost+found is not the server's
            *("--uid", job.uid),
            *("--listen", f"grpcs://0.0.0.0:{FEDERATION}"),
            *("--admin", f"0.0.0.0:{ADMIN}"),
            *("--http", f"0.0.0.0:{PLAIN}"),
            *("--tls", "/run/umbel/tls"),
            *("--trust-domain", settings.trust_domain),
            *("--operator", operator_id(settings.trust_domain)),
        ],
        "env": [
            *({"name": k, "value": v} for k, v in {"HOME": "/tmp", **ONE_THREAD, **MEMORY}.items()),
            *tracing.environment(settings.tracing),
        ],
        "ports": [
            {"name": "grpcs", "containerPort": FEDERATION},
            {"name": "admin", "containerPort": ADMIN},
            {"name": "metrics", "containerPort": PLAIN},
        ],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PLAIN}, "periodSeconds": 2, "timeoutSeconds": 5},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": PLAIN},
            "initialDelaySeconds": 600,  # reading the initial model may take as long
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": _resources(spec.server.resources.model_dump(mode="json", exclude_defaults=True)),
        "securityContext": restricted.container(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": "/state"},
            {"name": "job", "mountPath": "/etc/umbel", "readOnly": True},
            {"name": "tls", "mountPath": "/run/umbel/tls", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    if spec.model.credentials_secret:
        container["envFrom"] = [{"secretRef": {"name": spec.model.credentials_secret}}]
    return container


def _resources(said: Object) -> Object:
    """What the job says, by resource; limits that it does not mention have a default."""
    limits = {**DEFAULT_RESOURCES["limits"], **said.get("limits", {})}
    requests = {name: value for name, value in DEFAULT_RESOURCES["requests"].items() if name not in limits}
    if not said:
        return dict(DEFAULT_RESOURCES)
    return {"requests": {**requests, **said.get("requests", {})}, "limits": limits}
