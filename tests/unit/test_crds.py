"""What the CustomResourceDefinitions say is what the runtime's models say, field by field; and nothing is unbounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from umbel.job import FederatedJob
from umbel.manifest import app
from umbel.manifest.scalars import QUANTITY
from umbel_operator.conditions import MESSAGE_CHARACTERS

CRDS = Path(__file__).parents[2] / "crds"
NAMES = ("federatedjobs", "federatedclients", "silos")
SCHEMA = FederatedJob.model_json_schema(by_alias=True)
SAID = ("type", "enum", "pattern", "default", "minimum", "exclusiveMinimum", "maximum")
SAID += ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


def definition(name: str) -> dict[str, Any]:
    return yaml.safe_load((CRDS / f"{name}.yaml").read_text("utf-8"))  # type: ignore[no-any-return]


def version(name: str) -> dict[str, Any]:
    (only,) = definition(name)["spec"]["versions"]
    return only  # type: ignore[no-any-return]


def crd_nodes(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node of a CRD's schema by its path: ``spec.silos[].name``, ``spec.app.config.*``."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from crd_nodes(inner, f"{path}.{name}".lstrip("."))
    if "items" in node:
        yield from crd_nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from crd_nodes(node["additionalProperties"], f"{path}.*")


def schema(name: str) -> dict[str, Any]:
    return version(name)["schema"]["openAPIV3Schema"]  # type: ignore[no-any-return]


def as_crd(found: Mapping[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same of pydantic's schema, each node in the words of a CRD."""
    options = [option for option in found.get("anyOf", [found]) if option.get("type") != "null"]
    said: dict[str, Any] = {"description": found["description"]} if "description" in found else {}
    if len(options) > 1:
        yield path, {"any": "scalar"}
        return
    one = options[0]
    if "$ref" in one:
        one = SCHEMA["$defs"][one["$ref"].rpartition("/")[2]]
        said.setdefault("description", one["description"])
        said |= {"type": "object", "required": one.get("required", [])}
    said |= {key: one[key] for key in SAID if key in one}
    if found.get("default") is not None:
        said["default"] = found["default"]
    if "exclusiveMinimum" in one:
        said |= {"minimum": one["exclusiveMinimum"], "exclusiveMinimum": True}
    if one.get("pattern") == QUANTITY:
        said |= {"type": "quantity", "minimum": 0}
    yield path, said
    for name, inner in one.get("properties", {}).items():
        yield from as_crd(inner, f"{path}.{name}")
    if "items" in one:
        yield from as_crd(one["items"], f"{path}[]")
    elif one["type"] == "object" and "properties" not in one:
        values = one.get("additionalProperties") or next(iter(one["patternProperties"].values()))
        yield from as_crd(values, f"{path}.*")


def in_words(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node of the CRD without what pydantic does not say in its schema."""
    said = {key: node[key] for key in ("description", *SAID) if key in node}
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return {"any": "scalar"}
    if node.get("x-kubernetes-int-or-string"):
        said["type"] = "quantity"
    if "properties" in node:
        said["required"] = node.get("required", [])
    if node.get("type") == "object":
        said.pop("default", None)  # see test_what_is_absent_is_filled_in_from_below
    return said


EXPECTED = dict(as_crd({"$ref": "#/$defs/Spec", "description": "What the job is to do."}, "spec"))
SPEC = dict(crd_nodes(schema("federatedjobs")["properties"]["spec"], "spec"))


def test_a_job_has_the_same_fields_in_both() -> None:
    assert list(SPEC) == list(EXPECTED)  # in the same order too


@pytest.mark.parametrize("path", EXPECTED)
def test_a_field_is_the_same_in_both(path: str) -> None:
    expected = EXPECTED[path]
    if path == "spec.app":
        # On a cluster there is nothing to run without an image.
        expected = {**expected, "required": ["image", *expected["required"]]}
    if path.endswith("[]"):
        expected.pop("default", None)
    if EXPECTED[path].get("type") == "array":
        expected.setdefault("default", [])
    assert in_words(SPEC[path]) == expected


def test_what_is_absent_is_filled_in_from_below() -> None:
    """A mapping that need not be given is {} by default, or the defaults of those of its fields that a rule reads."""
    optional = {path for path, node in EXPECTED.items() if node.get("type") == "object" and not node.get("required")}
    optional.remove("spec.siloSelector.matchLabels")
    there = {
        path: SPEC[path]["default"] for path in SPEC if SPEC[path].get("type") == "object" and "default" in SPEC[path]
    }
    assert there.keys() == optional
    for path, default in there.items():
        assert default == {name: SPEC[f"{path}.{name}"]["default"] for name in default}


def bounded(node: Mapping[str, Any]) -> bool:
    match node.get("type"):
        case "string":
            return bool(node.keys() & {"maxLength", "enum"}) or node.get("format") == "date-time"
        case "array":
            return {"maxItems", "x-kubernetes-list-type"} <= node.keys()
        case "object":
            return bool(node.keys() & {"properties", "maxProperties"})
        case "integer":
            return "minimum" in node
    return True


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_bounded_and_described(name: str) -> None:
    # What Kubernetes bounds and describes itself.
    nodes = {
        path: node
        for path, node in crd_nodes(schema(name), "")
        if path.partition(".")[0] not in ("apiVersion", "kind", "metadata")
    }
    assert [path for path, node in nodes.items() if not bounded(node)] == []
    assert [path for path, node in nodes.items() if path[-2:] not in ("[]", ".*") and "description" not in node] == []
    kept = [path for path, node in nodes.items() if "x-kubernetes-preserve-unknown-fields" in node]
    assert kept == ["spec.app.config.*"] * (name == "federatedjobs")


def test_a_value_of_config_is_held_to_the_bounds_of_the_runtime() -> None:
    node = SPEC["spec.app.config.*"]
    assert (node["minimum"], node["maximum"], node["maxLength"]) == (app.LOWEST, app.HIGHEST, app.MAX_CONFIG_TEXT)
    assert all(float(bound) == bound for bound in (app.LOWEST, app.HIGHEST))


@pytest.mark.parametrize("name", NAMES)
def test_names_and_status(name: str) -> None:
    crd, only = definition(name), version(name)
    names = crd["spec"]["names"]
    assert crd["metadata"]["name"] == f"{name}.umbel.dev"
    assert crd["spec"]["scope"] == ("Cluster" if name == "silos" else "Namespaced")
    assert names.get("shortNames") == {"federatedjobs": ["fj"], "federatedclients": ["fc"], "silos": None}[name]
    assert names["categories"] == ["umbel"]
    assert only["subresources"] == {"status": {}}
    conditions = only["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    assert conditions["items"]["properties"]["message"]["maxLength"] == MESSAGE_CHARACTERS


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_says_what_would_be_right(name: str) -> None:
    rules = [rule for _, node in crd_nodes(schema(name), "") for rule in node.get("x-kubernetes-validations", [])]
    assert rules
    for rule in rules:
        text = rule.get("message") or rule["messageExpression"]
        assert "; " in text, rule
