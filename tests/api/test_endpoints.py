"""The address that silos dial, where a balancer or a Gateway gives it: by the objects made, and by a status that is
written as they would. Neither is there: no byte goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from umbel_cluster.api import Api

from .hub import Operator, clients, condition, gateways, install, manifest, status, until

pytestmark = pytest.mark.api
ROUTES = "/apis/gateway.networking.k8s.io"
SILOS = ["dials-1", "dials-2", "dials-3"]
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "front"},
    "spec": {
        "gatewayClassName": "any",
        "listeners": [
            {"name": "web", "port": 80, "protocol": "HTTP"},
            {"name": "through", "port": 8843, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        ],
    },
}


def test_the_address_of_a_balancer_and_of_a_gateway_reaches_the_silos(api: Api, operator: Operator) -> None:
    gateways(api)
    install(api, SILOS)
    operator.start()
    front = {"type": "Gateway", "gatewayRef": {"name": "front"}}
    jobs = {"balanced": {"type": "LoadBalancer"}, "fronted": front}
    objects = [GATEWAY, *(manifest(job, SILOS, server={"expose": expose}) for job, expose in jobs.items())]
    api.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    waits = {"balanced": "the load balancer's address", "fronted": "an address of Gateway front"}
    for job, what in waits.items():
        until(lambda job=job: _waits(api, job), f"{job} waits", told=operator.log)
        said = condition(api, job, "Progressing")["message"]
        assert said == f"silos cannot reach the server: it waits for {what}"
        assert "endpoint" not in status(api, job)
    service = api.client.find("/api/v1/namespaces/default/services/balanced-server")
    assert service is not None
    assert service["spec"]["type"] == "LoadBalancer"
    route = json.loads(api.kubectl("get", "tlsroute", "fronted-server", "-o", "json"))["spec"]
    assert route["hostnames"] == ["fronted.default.umbel.internal"]
    assert route["parentRefs"][0]["name"] == "front"
    assert (
        route["rules"][0]["backendRefs"][0] | {"name": "fronted-server", "port": 8443}
        == (route["rules"][0]["backendRefs"][0])
    )

    _gives(api, "svc/balanced-server", {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})
    _gives(api, "gateway/front", {"addresses": [{"type": "IPAddress", "value": "203.0.113.8"}]})
    for job, url in {"balanced": "grpcs://203.0.113.7:8443", "fronted": "grpcs://203.0.113.8:8843"}.items():
        until(lambda job=job, url=url: status(api, job).get("endpoint") == url, f"{job} at {url}", told=operator.log)
        dialled = lambda job=job: {c["spec"]["server"].get("url") for c in clients(api, job)}  # noqa: E731
        until(lambda dialled=dialled, url=url: dialled() == {url}, "told to every silo")
    api.kubectl("delete", "fj", *jobs, "--timeout=60s")
    api.kubectl("delete", "gateway", "front")


def test_a_route_is_of_the_version_that_is_served(api: Api, operator: Operator) -> None:
    """Before release 1.5, the Gateway API had v1alpha2."""
    gateways(api)
    install(api, SILOS)
    operator.start()
    expose = {"type": "Gateway", "gatewayRef": {"name": "front"}}
    for newer, version in ((True, "v1"), (False, "v1alpha2")):
        _serves(api, {"v1": newer, "v1alpha2": not newer})
        job = f"routed-{version}"
        api.kubectl("apply", "-f", "-", input=json.dumps(manifest(job, SILOS, server={"expose": expose})))
        path = f"{ROUTES}/{version}/namespaces/default/tlsroutes/{job}-server"
        until(lambda path=path: api.client.find(path), f"a route of {version}", told=operator.log)
        api.kubectl("delete", "fj", job, "--timeout=60s")
    _serves(api, {"v1": True, "v1alpha2": False})


def _serves(api: Api, versions: dict[str, bool]) -> None:
    definition = json.loads(api.kubectl("get", "crd", "tlsroutes.gateway.networking.k8s.io", "-o", "json"))
    for version in definition["spec"]["versions"]:
        version["served"] = versions.get(version["name"], False)
    api.kubectl("replace", "-f", "-", input=json.dumps(definition))

    def seen() -> bool:
        found = {version: api.client.find(f"{ROUTES}/{version}") or {"resources": []} for version in versions}
        return versions == {v: any(r["name"] == "tlsroutes" for r in f["resources"]) for v, f in found.items()}

    until(seen, f"{versions} in what the API server tells of itself")


def _waits(api: Api, job: str) -> bool:
    return condition(api, job, "Progressing").get("reason") == "WaitingForEndpoint" and len(clients(api, job)) == 3


def _gives(api: Api, what: str, told: dict[str, Any]) -> None:
    api.kubectl("patch", what, "--subresource=status", "--type=merge", "-p", json.dumps({"status": told}))
