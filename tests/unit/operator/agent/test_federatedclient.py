"""FederatedClients of hubs that are newer than this agent, or mean no good."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.agent.bench import PROCESS, ROOT, SLURM
from unit.operator.agent.silo import federated_client, site_file
from unit.test_crds import crd_nodes, schema

from umbel.manifest.scalars import LABEL_VALUE, SUBDOMAIN
from umbel_operator.agent import heard
from umbel_operator.agent.approvals.request import request_of
from umbel_operator.agent.audit import Audit
from umbel_operator.agent.backends.kubernetes import manifests
from umbel_operator.agent.backends.local import command
from umbel_operator.agent.backends.local.records import Owner
from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.federatedclient import FederatedClient, read
from umbel_operator.agent.policy import Decision
from umbel_operator.agent.site import Site

Object = dict[str, Any]


def test_fields_of_a_later_hub_are_passed_over() -> None:
    plain = federated_client()
    later = copy.deepcopy(plain)
    spec = later["spec"]
    for place in (later, later["metadata"], spec, *(spec[k] for k in ("job", "app", "server", "privacy"))):
        place["ofTomorrow"] = {"deep": [1]}
    assert read(later) == read(plain)


@pytest.mark.parametrize("field", ["job", "silo", "trustDomain", "app", "activeDeadlineSeconds"])
def test_one_without_what_is_needed_is_not_understood(field: str) -> None:
    lacking = federated_client()
    del lacking["spec"][field]
    with pytest.raises(ValueError, match=f"spec.{field}: is missing"):
        read(lacking)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"job": "digits"}, "spec.job: is a string"),
        ({"app": ["x"]}, "spec.app: is a list"),
        ({"server": "grpcs://x"}, "spec.server: is a string"),
        (
            {"desiredState": "Hibernating"},
            "spec.desiredState: is 'Hibernating', not one of Running, Suspended, Finished",
        ),
        ({"resources": {"limits": {"cpu": "many"}}}, "spec.resources.limits.cpu: 'many' is not a quantity"),
        ({"privacy": {"minCohort": "3", "minExamples": 11}}, "spec.privacy.minCohort: '3' is a string, not a number"),
    ],
)
def test_one_that_says_it_otherwise_is_not_understood(spec: Object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(federated_client(**spec))


@pytest.mark.parametrize(
    "url",
    [
        "grpcs://$(HTTPS_PROXY):443",
        "grpcs://a:443@b:443",
        "grpcs://a/b",
        "grpcs://a:0",
        "grpcs://a:65536",
        "grpcs://a:443\n",
        "grpcs://",
        "https://a:443",
    ],
)
def test_a_server_is_a_host_and_a_port(url: str) -> None:
    with pytest.raises(ValueError, match=r"spec\.server\.url"):
        read(federated_client(server={"url": url, "name": "digits.default.umbel.internal"}))


@pytest.mark.parametrize("image", ["a.example.org/acme/../evil/x", "a.example.org//x", "a.example.org/./x", "a/"])
def test_an_image_is_called_by_no_way_around(image: str) -> None:
    with pytest.raises(ValueError, match=r"spec\.app\.image"):
        read(federated_client(app={"image": image + "@sha256:" + "0" * 64, "client": "ct.client:app"}))


# ---- the hub's word against the silo's paths, names, arguments and lines

PLACES = [
    *(("metadata", name) for name in ("name", "namespace")),
    *(("spec", "job", name) for name in ("name", "namespace", "uid")),
    *(("spec", name) for name in ("silo", "trustDomain", "dataset", "desiredState", "authorities", "certificate")),
    *(("spec", "app", name) for name in ("image", "client")),
    *(("spec", "server", name) for name in ("url", "name")),
    *(("spec", "resources", "limits", name) for name in ("cpu", "memory")),
]
FITTING = st.text("ab1-.", min_size=1, max_size=70)
PATHS = ["../../x", "/etc/x", "..", ".", "", "--state=/", "-x", "a/../b", "a%2fb"]
SHELL = ["$(HOME)", "$HOME", "`id`", "'; id; '", "a\nb", "a\0b", "a b", "grpcs://$(HOME):1"]
OTHER = ["\x1b[2J", "\u202ea", "\ud800", "a,b=c", "A" * 64, "a" * 300, "\u00e4"]
EVIL = st.sampled_from([*PATHS, *SHELL, *OTHER])
TEXTS = st.one_of(EVIL, FITTING, st.text(max_size=70), st.builds(str.__add__, FITTING, EVIL))


def changed(place: tuple[str, ...], value: object) -> Object:
    obj = federated_client(resources={"limits": {"cpu": "1"}})
    owner = obj
    for step in place[:-1]:
        owner = owner[step]
    owner[place[-1]] = value
    return obj


def everything_made_of(client: FederatedClient) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Arguments and surroundings of its client, on every backend."""
    parts = {"datasets": {client.dataset: {"path": "/srv/ct"}}, "silo": client.silo}
    assert client.server is not None
    process = site_file(**parts, process=PROCESS)
    folder = ROOT / Owner.of(client).folder
    words = command.arguments(client, process, client.server, folder, "/srv/ct", (), 15.0)
    yield words, command.environment(client, process, {}, {})
    slurm = site_file(**parts, slurm=SLURM)
    assert slurm.slurm is not None
    script = Request(client, slurm, slurm.slurm, client.server, folder, {}).script("token")
    head, *exports, check, run = script.splitlines()
    assert head == "#!/bin/sh"
    assert check.startswith("[ ")
    assert all(line.startswith("export ") and len(shlex.split(line)) == 2 for line in exports)
    yield shlex.split(run)[4:], {}
    yield pod_of(client, site_file(datasets={client.dataset: {}}, silo=client.silo))


def pod_of(client: FederatedClient, site: Site) -> tuple[list[str], dict[str, str]]:
    assert client.server is not None
    made = manifests.deployment(client, site, "clients", client.server, 1)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    for name in (made["metadata"]["name"], manifests.volume_name(client), manifests.secret_name(client)):
        assert len(name) <= 253
        assert re.fullmatch(SUBDOMAIN, name)
    assert "$(" not in "".join(container["args"])
    return container["args"], {entry["name"]: entry["value"] for entry in container["env"]}


@settings(max_examples=400)
@given(st.sampled_from(PLACES), TEXTS)
def test_whatever_a_hub_says_stays_in_its_place(place: tuple[str, ...], text: str) -> None:
    try:
        client = read(changed(place, text))
    except ValueError:
        return
    folder = PurePosixPath(Owner.of(client).folder)
    assert folder.parts == (folder.name,)
    assert not folder.name.startswith(".")
    assert len(folder.name) <= 255
    for value in client.labels.values():
        assert len(value) <= 63
        assert re.fullmatch(LABEL_VALUE, value)
    for words, surroundings in everything_made_of(client):
        for word in (*words, *surroundings.values()):
            assert word.isprintable()
            assert " " not in word
    lines: list[str] = []
    Audit(lines.append).decided(request_of(client), Decision("ApprovalPending"), None)
    assert all(value.isprintable() for value in json.loads(lines[0]).values() if isinstance(value, str))


def test_the_words_above_include_some_that_fit() -> None:
    """A property of what is read says nothing if nothing is."""
    for place in PLACES:
        assert read(changed(place, federated_value(place)))


def federated_value(place: tuple[str, ...]) -> object:
    fitting = {"desiredState": "Running", "url": "grpcs://a-1.b:1", "image": "b.a/1", "client": "a.b:a", "cpu": "1"}
    return {**fitting, "memory": "11", "certificate": "a\nb", "authorities": "a\nb"}.get(place[-1], "a-1b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARTS = [(), ("metadata",), ("spec",), *(("spec", name) for name in ("job", "app", "server", "resources", "privacy"))]


@settings(max_examples=300)
@given(st.sampled_from([*PLACES, *PARTS[1:], ("metadata", "generation"), ("spec", "activeDeadlineSeconds")]), JSON)
def test_what_is_of_another_kind_is_not_understood_and_nothing_worse(place: tuple[str, ...], value: object) -> None:
    try:
        read(changed(place, value))
    except ValueError:
        return


@settings(max_examples=200)
@given(
    st.one_of(
        JSON,
        st.fixed_dictionaries({"conditions": JSON, "finalModel": JSON, "certificateRequest": JSON}),
        st.fixed_dictionaries(
            {
                "conditions": st.lists(
                    st.fixed_dictionaries({"type": JSON, "status": JSON, "reason": JSON, "lastTransitionTime": JSON})
                )
            }
        ),
    )
)
def test_a_status_that_is_none_is_as_if_nothing_had_been_said(status: Any) -> None:
    found = heard.status_of({"status": status})
    for entry in found.get("conditions", ()):
        assert {type(entry[key]) for key in ("type", "status", "reason", "lastTransitionTime")} == {str}
    assert isinstance(found.get("certificateRequest", ""), str)
    assert found.get("finalModel", {"round": 0})["round"] >= 0


# ---- the same words as the hub's own definition

SAID = ("pattern", "maxLength", "minimum", "maximum", "maxProperties")
DEFINED = dict(crd_nodes(schema("federatedclients")["properties"]["spec"], "spec"))


def described(node: Object, path: str, definitions: Object) -> Iterator[tuple[str, Object]]:
    (one,) = [option for option in node.get("anyOf", [node]) if option.get("type") != "null"]
    found = {**one, **definitions.get(one.get("$ref", "").rpartition("/")[2], {})}
    yield path, {key: found[key] for key in SAID if key in found}
    for name, inner in found.get("properties", {}).items():
        yield from described(inner, f"{path}.{name}", definitions)
    for inner in found.get("patternProperties", {}).values():
        yield from described(inner, f"{path}.*", definitions)


def test_the_form_is_that_of_the_hubs_definition() -> None:
    whole = heard.Spec.model_json_schema(by_alias=True)
    expected = dict(described(whole, "spec", whole["$defs"]))
    assert expected.keys() == DEFINED.keys()
    for path, node in DEFINED.items():
        said = {key: node[key] for key in SAID if key in node}
        if path == "spec.server.url":
            assert said.pop("pattern") == heard.SERVER
        if "x-kubernetes-int-or-string" in node:
            said.pop("minimum")
        assert expected[path] == said, path


def test_paths_of_a_state_directory_are_below_it() -> None:
    assert (ROOT / Owner.of(read(federated_client())).folder).parent == ROOT == Path("/srv/umbel/clients")
