"""The objects of a job: what the server's pod may do, and who may come to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.operator.hub.world import SETTINGS, UID, federated_job

from umbel.job import FederatedJob, parse, resolve
from umbel_operator import names
from umbel_operator.hub.manifests import client, pod, server
from umbel_operator.hub.manifests.common import Identity
from umbel_operator.hub.observed import Tls

JOB = Identity("digits", "default", UID)
ROUTE = "gateway.networking.k8s.io/v1"


def job(**spec: Any) -> FederatedJob:
    obj = federated_job(**spec)
    obj["metadata"] = {"name": "digits", "namespace": "default"}
    return resolve(parse(obj))


def stateful_set(**spec: Any) -> dict[str, Any]:
    return pod.stateful_set(JOB, job(**spec), SETTINGS, 1)


def pod_spec(**spec: Any) -> dict[str, Any]:
    return dict(stateful_set(**spec)["spec"]["template"]["spec"])


def container(**spec: Any) -> dict[str, Any]:
    (found,) = pod_spec(**spec)["containers"]
    return dict(found)


def objects() -> list[dict[str, Any]]:
    return [
        server.service(JOB, job()),
        server.admin_service(JOB),
        server.network_policy(JOB, job(), SETTINGS),
        server.service_account(JOB),
        server.config_map(JOB, job()),
        server.tls_secret(JOB, Tls("certificate", "key", "bundle")),
        server.volume(JOB, job(), {}),
        stateful_set(),
    ]


@pytest.mark.parametrize("obj", objects(), ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
def test_everything_is_labelled_and_all_but_the_model_goes_with_the_job(obj: dict[str, Any]) -> None:
    meta = obj["metadata"]
    assert meta["namespace"] == "default"
    assert meta["labels"][names.MANAGED_BY] == "umbel"
    assert meta["labels"][names.JOB_UID] == UID
    owners = [owner["uid"] for owner in meta.get("ownerReferences", ())]
    assert owners == ([] if obj["kind"] == "PersistentVolumeClaim" else [UID])


# ---- the pod


def test_the_pod_is_restricted() -> None:
    spec = pod_spec()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= allowed


def test_it_has_no_token_and_an_account_that_may_nothing() -> None:
    assert pod_spec()["automountServiceAccountToken"] is False
    assert pod_spec()["serviceAccountName"] == "digits-server"
    assert server.service_account(JOB)["automountServiceAccountToken"] is False


def test_only_its_state_and_its_own_tmp_can_be_written() -> None:
    writable = [mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/state", "/tmp"]


@pytest.mark.parametrize(
    ("said", "requests", "limits"),
    [
        ({}, {"cpu": "100m", "memory": "256Mi"}, {"cpu": "2", "memory": "4Gi"}),
        ({"limits": {"memory": "1Gi"}}, None, {"cpu": "2", "memory": "1Gi"}),
        ({"requests": {"memory": "1Gi"}}, {"memory": "1Gi"}, {"cpu": "2", "memory": "4Gi"}),
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": "8", "memory": "32Gi"}},
            {"cpu": "1"},
            {"cpu": "8", "memory": "32Gi"},
        ),
    ],
)
def test_there_are_always_limits(said: dict[str, Any], requests: dict[str, str] | None, limits: dict[str, str]) -> None:
    found = container(server={"resources": said})["resources"]
    assert found["limits"] == limits
    if requests is not None:
        assert found["requests"] == requests


def test_freed_memory_is_overwritten() -> None:
    env = {entry["name"]: entry["value"] for entry in container()["env"]}
    assert int(env["MALLOC_PERTURB_"]) > 0
    assert env["PYTHONMALLOC"] == "malloc"
    assert env["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0"


def test_the_initial_model_does_not_depend_on_the_node() -> None:
    env = {entry["name"]: entry["value"] for entry in container()["env"]}
    assert {env[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}


def test_the_command_names_the_job_and_who_may_administer_it() -> None:
    assert container()["command"] == ["umbel", "server"]
    args = container()["args"]
    options = dict(zip(args[::2], args[1::2], strict=True))
    assert options["--uid"] == UID
    assert options["--trust-domain"] == "umbel.local"
    assert options["--operator"] == "spiffe://umbel.local/hub/operator"


def test_secrets_are_given_only_where_the_job_names_them() -> None:
    assert "envFrom" not in container()
    assert "imagePullSecrets" not in pod_spec()
    assert pod_spec(server={"imagePullSecrets": [{"name": "pull"}]})["imagePullSecrets"] == [{"name": "pull"}]
    store = {"output": {"uri": "s3://bucket/model"}, "credentialsSecret": "store"}
    assert container(model=store)["envFrom"] == [{"secretRef": {"name": "store"}}]


# ---- who comes and goes


def test_the_network_policy_denies_both_ways_but_for_three_ports() -> None:
    spec = server.network_policy(JOB, job(), SETTINGS)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    openings = {rule["ports"][0]["port"]: rule.get("from") for rule in spec["ingress"]}
    assert openings.keys() == {8443, 9443, 9090}
    assert openings[8443] is None
    assert openings[9090] == [{"namespaceSelector": {}}]
    (admin,) = openings[9443] or []
    assert admin["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "umbel-system"}
    assert admin["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "umbel-operator"}


def test_its_pods_are_those_that_it_selects() -> None:
    labels = stateful_set()["spec"]["template"]["metadata"]["labels"]
    policy = server.network_policy(JOB, job(), SETTINGS)["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert stateful_set()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for service in (server.service(JOB, job()), server.admin_service(JOB)):
        assert service["spec"]["selector"].items() <= labels.items()


def test_an_object_store_opens_names_and_one_port() -> None:
    found = server.network_policy(JOB, job(model={"output": {"uri": "s3://bucket/model"}}), SETTINGS)
    assert {port["port"] for rule in found["spec"]["egress"] for port in rule["ports"]} == {53, 443}


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer", "Gateway"])
def test_silos_reach_one_port(kind: str) -> None:
    expose = {"type": kind, **({"gatewayRef": {"name": "edge"}} if kind == "Gateway" else {})}
    manifest = job(server={"expose": expose})
    found = server.service(JOB, manifest)["spec"]
    assert [port["port"] for port in found["ports"]] == [8443]
    assert found["type"] == ("ClusterIP" if kind == "Gateway" else kind)
    assert (server.tls_route(JOB, manifest, ROUTE) is not None) == (kind == "Gateway")


def test_the_admin_port_never_leaves_the_cluster() -> None:
    spec = server.admin_service(JOB)["spec"]
    assert spec["type"] == "ClusterIP"
    assert [port["port"] for port in spec["ports"]] == [9443, 9090]


def test_a_gateway_passes_tls_through_by_the_servers_own_name() -> None:
    expose = {"type": "Gateway", "gatewayRef": {"name": "edge", "namespace": "infra", "sectionName": "tls"}}
    route = server.tls_route(JOB, job(server={"expose": expose}), ROUTE)
    assert route is not None
    assert route["apiVersion"] == ROUTE
    assert route["spec"]["hostnames"] == ["digits.default.umbel.internal"]
    assert route["spec"]["parentRefs"] == [{"name": "edge", "namespace": "infra", "sectionName": "tls"}]


# ---- what is kept, and what is told


def test_the_model_volume_is_of_this_very_job() -> None:
    found = server.volume(JOB, job(), {})
    other = server.volume(Identity("digits", "default", "deadbeef-0000"), job(), {})
    assert found["metadata"]["name"] == "digits-model-0f3c2a9e"
    assert other["metadata"]["name"] == "digits-model-deadbeef"
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod_spec()["volumes"] if "persistentVolumeClaim" in v]
    assert claims == ["digits-model-0f3c2a9e"]


def test_the_server_reads_a_manifest_with_every_default_in_it() -> None:
    read = json.loads(server.config_map(JOB, job())["data"]["job.json"])
    assert resolve(parse(read)) == job()
    assert read["spec"]["rounds"]["timeoutSeconds"] == 600
    assert read["metadata"] == {"name": "digits", "namespace": "default"}


def test_a_silo_is_told_what_it_needs_and_nothing_of_the_others() -> None:
    manifest = job()
    found = client.federated_client(
        JOB,
        manifest,
        manifest.spec.silos[0],
        SETTINGS,
        desired="Running",
        url="grpcs://10.96.3.4:8443",
        bundle="bundle",
        certificate=None,
    )
    assert found["metadata"]["namespace"] == "umbel-silo-hospital-a"
    assert found["spec"]["server"] == {"url": "grpcs://10.96.3.4:8443", "name": "digits.default.umbel.internal"}
    assert "certificate" not in found["spec"]
    assert "hospital-b" not in json.dumps(found)
    assert "status" not in found
