"""What the server's pod gets where the hub asks for traces: and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.hub.test_manifests import JOB, container, job
from unit.operator.hub.world import SETTINGS

from umbel.cli.errors import CliError
from umbel.server import tracing as of_the_server
from umbel_operator.hub import tracing_options
from umbel_operator.hub.manifests import pod, server
from umbel_operator.hub.settings import Tracing

URL = "http://collector.watching:4318"
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
STORE = {"output": {"uri": "s3://bucket/model"}}


def variables(tracing: Tracing | None) -> dict[str, Any]:
    made = pod.stateful_set(JOB, job(), replace(SETTINGS, tracing=tracing), 1)
    (found,) = made["spec"]["template"]["spec"]["containers"]
    usual = [entry["name"] for entry in container()["env"]]
    return {entry.pop("name"): entry for entry in found["env"] if entry["name"] not in usual}


def egress(tracing: Tracing | None, **spec: Any) -> list[dict[str, Any]]:
    policy = server.network_policy(JOB, job(**spec), replace(SETTINGS, tracing=tracing))
    return list(policy["spec"]["egress"])


def to_port(*ports: int, **more: Any) -> dict[str, Any]:
    return {"ports": [{"port": port, "protocol": "TCP"} for port in ports], **more}


def test_without_an_endpoint_nothing_is_set_and_nothing_opened() -> None:
    assert variables(None) == {}
    assert egress(None) == []


def test_the_servers_own_variables_are_set() -> None:
    found = variables(Tracing(URL))
    assert found == {"OTEL_EXPORTER_OTLP_ENDPOINT": {"value": URL}, "UMBEL_TRACES": {"value": "IfInstalled"}}
    assert found[of_the_server.WISH]["value"] == of_the_server.IF_INSTALLED
    assert found.keys() & set(of_the_server.ENDPOINTS)


def test_headers_come_from_a_secret_that_may_be_missing() -> None:
    (headers,) = variables(Tracing(URL, "keys")).keys() - variables(Tracing(URL)).keys()
    assert headers == "OTEL_EXPORTER_OTLP_HEADERS"
    secret = {"name": "keys", "key": "headers", "optional": True}
    assert variables(Tracing(URL, "keys"))[headers] == {"valueFrom": {"secretKeyRef": secret}}


@pytest.mark.parametrize(
    ("tracing", "opened"),
    [
        (Tracing(URL), [DNS, to_port(4318)]),
        (Tracing("https://collector.example.org/otlp"), [DNS, to_port(443)]),
        (Tracing("http://10.1.2.3"), [to_port(80)]),
        (Tracing("http://[fd00::1]:4318"), [to_port(4318)]),
        (Tracing(URL, ports=(14318, 4318)), [DNS, to_port(14318, 4318)]),
        (
            Tracing(URL, namespace="watching", cidrs=("10.1.0.0/16",)),
            [
                DNS,
                to_port(
                    4318,
                    to=[
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "watching"}}},
                        {"ipBlock": {"cidr": "10.1.0.0/16"}},
                    ],
                ),
            ],
        ),
    ],
    ids=str,
)
def test_one_opening_to_the_collector(tracing: Tracing, opened: list[Any]) -> None:
    assert egress(tracing) == opened


def test_beside_an_object_store_nothing_is_opened_twice() -> None:
    assert egress(Tracing(URL), model=STORE) == [DNS, to_port(443), to_port(4318)]
    assert egress(Tracing("https://collector"), model=STORE) == [DNS, to_port(443)]


def said(**more: Any) -> Tracing | None:
    usual = {"traces": URL, "traces_headers": "", "traces_namespace": "", "traces_cidr": (), "traces_port": ()}
    return tracing_options.read(**{**usual, **more})


def test_what_the_command_was_told() -> None:
    assert said(traces="") is None
    assert said(traces=f"{URL}/") == Tracing(URL)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"traces": "collector:4318"}, "--traces: write http://host:port"),
        ({"traces": "http://:4318"}, "write http://host:port"),
        ({"traces": "http://c:99999"}, "write http://host:port"),
        ({"traces": "https://me:secret@c"}, "without a user's name"),
        ({"traces": "", "traces_headers": "keys"}, "--traces-headers: means nothing without --traces"),
        ({"traces": "", "traces_port": (1,)}, "--traces-port: means nothing without --traces"),
        ({"traces_cidr": ("10.0.0.1/8",)}, "--traces-cidr: 10.0.0.1/8 has host bits set; write it like 10.1.0.0/16"),
    ],
)
def test_what_is_wrong_is_one_line(more: dict[str, Any], told: str) -> None:
    with pytest.raises(CliError) as error:
        said(**more)
    assert told in str(error.value)
