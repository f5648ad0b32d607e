"""The address that silos dial."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator.hub.world import federated_job

from umbel.job import FederatedJob, parse, resolve
from umbel_operator.hub.endpoint import endpoint
from umbel_operator.hub.observed import Observed

GATEWAY: dict[str, Any] = {"type": "Gateway", "gatewayRef": {"name": "edge"}}
LISTENERS = [
    {"name": "web", "protocol": "HTTPS", "port": 443, "tls": {"mode": "Terminate"}},
    {"name": "tls", "protocol": "TLS", "port": 8443, "tls": {"mode": "Passthrough"}},
]


def job(**expose: Any) -> FederatedJob:
    obj = federated_job(server={"expose": expose})
    obj["metadata"] = {"name": "digits", "namespace": "default"}
    return resolve(parse(obj))


def found(
    expose: dict[str, Any],
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[str | None, str]:
    service = {"kind": "Service", "spec": spec or {}, "status": status or {}}
    return endpoint(job(**expose), Observed({("Service", "default", "digits-server"): service}, **more))


def balanced(*ingress: dict[str, str]) -> dict[str, Any]:
    return {"loadBalancer": {"ingress": list(ingress)}}


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_before_there_is_a_service_nobody_else_is_waited_for(kind: str) -> None:
    assert endpoint(job(type=kind), Observed()) == (None, "")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.96.3.4", "grpcs://10.96.3.4:8443"),
        ("fd00::1", "grpcs://[fd00::1]:8443"),
        (None, None),
        ("None", None),
    ],
)
def test_a_cluster_ip(address: str | None, url: str | None) -> None:
    assert found({"type": "ClusterIP"}, {"clusterIP": address}) == (url, "" if url else "a cluster IP")


PORTS = {"ports": [{"name": "grpcs", "port": 8443, "nodePort": 30443}]}


@pytest.mark.parametrize(
    ("expose", "addresses", "url"),
    [
        ({}, ("192.0.2.7", "192.0.2.8"), "grpcs://192.0.2.7:30443"),
        ({}, ("2001:db8::7",), "grpcs://[2001:db8::7]:30443"),
        ({"host": "hub.example.org"}, (), "grpcs://hub.example.org:30443"),
        ({}, (), None),
    ],
)
def test_a_port_of_the_nodes(expose: dict[str, Any], addresses: tuple[str, ...], url: str | None) -> None:
    told = found({"type": "NodePort", **expose}, PORTS, addresses=addresses)
    assert told == (url, "" if url else "a node with an address")


def test_a_port_of_the_nodes_that_is_not_given_yet() -> None:
    assert found({"type": "NodePort"}, {"ports": [{"port": 8443}]}, addresses=("192.0.2.7",))[0] is None


@pytest.mark.parametrize(
    ("expose", "status", "url"),
    [
        ({}, balanced({"ip": "192.0.2.7"}), "grpcs://192.0.2.7:8443"),
        ({}, balanced({"ip": "2001:db8::7"}), "grpcs://[2001:db8::7]:8443"),
        ({}, balanced({"hostname": "lb.example.org"}), "grpcs://lb.example.org:8443"),
        ({"host": "hub.example.org"}, {}, "grpcs://hub.example.org:8443"),
        ({}, balanced(), None),
        ({}, {}, None),
    ],
)
def test_a_balancer(expose: dict[str, Any], status: dict[str, Any], url: str | None) -> None:
    told = found({"type": "LoadBalancer", **expose}, status=status)
    assert told == (url, "" if url else "the load balancer's address")


@pytest.mark.parametrize(
    ("expose", "gateway", "url"),
    [
        ({}, {"spec": {"listeners": LISTENERS}}, "grpcs://192.0.2.9:8443"),
        ({}, {"spec": {"listeners": LISTENERS[:1]}}, "grpcs://192.0.2.9:443"),
        ({"host": "hub.example.org"}, {"spec": {"listeners": LISTENERS}}, "grpcs://hub.example.org:8443"),
        (
            {"gatewayRef": {"name": "edge", "sectionName": "web"}},
            {"spec": {"listeners": LISTENERS}},
            "grpcs://192.0.2.9:443",
        ),
    ],
)
def test_a_gateway(expose: dict[str, Any], gateway: dict[str, Any], url: str) -> None:
    live = {**gateway, "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.9"}]}}
    assert found({**GATEWAY, **expose}, gateway=live) == (url, "")


def test_a_gateway_that_has_no_address_or_is_not_there() -> None:
    gateways: list[Any] = [None, {}, {"status": {"addresses": []}}]
    for gateway in gateways:
        assert found(GATEWAY, gateway=gateway) == (None, "an address of Gateway edge")
