"""The objects of a client: Pod Security `restricted`, no token, nothing open that need not be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.operator.agent.silo import NAME, NAMESPACE, UID, client, site_file

from umbel.cli.client import client_command
from umbel.client.eligibility.read import rules_of
from umbel_operator import names
from umbel_operator.agent.backends.kubernetes import manifests
from umbel_operator.agent.federatedclient import Server

SERVER = Server("grpcs://203.0.113.9:30443", "digits.default.umbel.internal")


def made(site: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return manifests.deployment(client(**spec), site_file(**(site or {})), NAMESPACE, SERVER, 1)


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment["spec"]["template"]["spec"])


def container_of(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(deployment)["containers"]
    return dict(container)


def test_the_pod_is_restricted() -> None:
    pod, container = pod_of(made()), container_of(made())
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert "privileged" not in security
    allowed = {"secret", "persistentVolumeClaim", "emptyDir"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
    assert container["terminationMessagePolicy"] == "File"


def test_one_pod_at_a_time() -> None:
    spec = made()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_command_is_one_that_umbel_understands() -> None:
    container = container_of(made({}, dataset="chest-ct"))
    assert container["command"] == ["umbel"]
    first, *arguments = container["args"]
    assert first == "client"
    known = {option for parameter in client_command.params for option in parameter.opts}
    given = {argument.split("=")[0] for argument in arguments}
    assert given - {"--pod"} <= known
    assert "--server=grpcs://203.0.113.9:30443" in arguments
    assert "--server-name=digits.default.umbel.internal" in arguments
    assert arguments[-1] == "--pod"


def test_the_sites_rules_of_eligibility_reach_the_client() -> None:
    section = {"windows": [{"opens": "22:00", "closes": "06:00"}], "maxLoad": 0.25, "onLoss": "Decline"}
    arguments = container_of(made({"eligibility": section}))["args"]
    (word,) = [a.partition("=")[2] for a in arguments if a.startswith("--eligibility=")]
    assert rules_of(word) == site_file(eligibility=section).eligibility
    assert not any("eligibility" in argument for argument in container_of(made())["args"])


def test_a_dataset_is_mounted_read_only_and_its_volume_goes_by_no_name_of_the_jobs() -> None:
    with_volume, without = made(dataset="chest-ct"), made(dataset="named")
    (mount,) = [m for m in container_of(with_volume)["volumeMounts"] if m["mountPath"] == "/data"]
    assert mount == {"name": "data", "mountPath": "/data", "readOnly": True, "subPath": "chest"}
    (volume,) = [v for v in pod_of(with_volume)["volumes"] if v["name"] == "data"]
    assert volume["persistentVolumeClaim"] == {"claimName": "ct-2026", "readOnly": True}
    assert "--data=/data" in container_of(with_volume)["args"]
    assert "/data" not in json.dumps(without)


def test_threads_follow_the_limit_and_the_site_has_the_last_word() -> None:
    def environment(deployment: dict[str, Any]) -> dict[str, str]:
        entries = container_of(deployment)["env"]
        assert len({entry["name"] for entry in entries}) == len(entries)
        return {entry["name"]: entry["value"] for entry in entries}

    found = environment(made(resources={"limits": {"cpu": "2500m"}}))
    assert found == {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "HOME": "/tmp"}
    site = {"pods": {"env": {"OMP_NUM_THREADS": "7", "HTTPS_PROXY": "http://proxy:3128"}}}
    found = environment(made(site))
    assert (found["OMP_NUM_THREADS"], found["HTTPS_PROXY"]) == ("7", "http://proxy:3128")


def test_what_the_site_asks_for_its_pods() -> None:
    site = {
        "pods": {
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["registry"],
            "nodeSelector": {"gpu": "true"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "runtimeClassName": "nvidia",
            "labels": {"team": "radiology", "umbel.dev/client": "another"},
            "annotations": {"example.org/note": "hello"},
        }
    }
    deployment = made(site)
    pod, template = pod_of(deployment), deployment["spec"]["template"]["metadata"]
    assert container_of(deployment)["imagePullPolicy"] == "Always"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"gpu": "true"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["runtimeClassName"] == "nvidia"
    assert template["labels"]["team"] == "radiology"
    assert template["labels"]["umbel.dev/client"] == NAME
    assert template["annotations"] == {"example.org/note": "hello"}


def test_the_network_policy_denies_both_ways_but_for_names_and_the_server() -> None:
    site = site_file(network={"egress": [{"cidr": "10.1.0.0/16", "ports": [3128]}, {"cidr": "10.2.0.0/16"}]})
    spec = manifests.network_policy(client(), site, NAMESPACE, SERVER)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert spec["egress"] == [
        {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
        {"ports": [{"protocol": "TCP", "port": 8443}, {"protocol": "TCP", "port": 30443}]},
        {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 3128}]},
        {"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
    ]
    labels = made()["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_state_volume_carries_the_jobs_uid() -> None:
    site = site_file(state={"size": "5Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]})
    found = manifests.state_volume(client(), site, NAMESPACE)
    assert found["metadata"]["name"] == f"{NAME}-{UID[:8]}"
    assert found["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }


@pytest.mark.parametrize("part", ["certificate", "authorities"])
def test_a_certificate_changes_nothing_of_the_deployment(part: str) -> None:
    assert made() == made(**{part: "another"})


def test_a_digest_follows_the_content() -> None:
    def digest(deployment: dict[str, Any]) -> str:
        return str(deployment["metadata"]["annotations"][names.DIGEST])

    assert digest(made()) == digest(made())
    assert digest(made()) != digest(made(resources={"limits": {"cpu": "2"}}))


def test_the_server_is_read_back_from_the_deployment() -> None:
    assert manifests.server_of(made()) == SERVER
    assert manifests.server_of({"metadata": {}}) is None
