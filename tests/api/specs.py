"""FederatedJobs by chance: right ones, and ones with one thing wrong, from the schema of the models.

A new field takes part without a line here. By hand are only the parts whose fields have to go together, so that about
half of the jobs are accepted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from umbel import rules
from umbel.job import FederatedJob

Spec = dict[str, Any]
SCHEMA = FederatedJob.model_json_schema(by_alias=True)
PARTS: Mapping[str, Any] = SCHEMA["$defs"]
WORDS = ["a", "silo-1", "x" * 63, "loss", "accuracy", "m.n:o", "s3://bucket/key", "10Gi", "head.*", "example.org/x"]
ODD_TEXT = ["", "-", "A", "a.b", "é", "x" * 64, "a" * 300, "a b", "a\n", "*", "s3://k:p@h/m", "1", "0.5", "-1", "1e3"]
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    1001,
    10**13,
    2**63,
    -(2**70),
    0.5,
    -0.5,
    3.0,
    1e300,
    [],
    {},
    *WORDS,
    *ODD_TEXT,
]
ODD += [[None], [1], ["a"], ["a", "a"], {"a": 1}, {"a": "b"}, {"name": "a"}, [{"name": "a"}], [{"name": "a"}] * 2]


def leaves(part: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every field by its path, mappings included; not what is inside of lists."""
    for name, field in part["properties"].items():
        node = reading(field)
        yield (*path, name), node
        if "properties" in node:
            yield from leaves(node, (*path, name))


def reading(field: Mapping[str, Any]) -> Mapping[str, Any]:
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    if len(options) > 1:
        return {"anyOf": options}
    return PARTS[options[0]["$ref"].rpartition("/")[2]] if "$ref" in options[0] else options[0]  # type: ignore[no-any-return]


FIELDS = dict(leaves(PARTS["Spec"], ()))


def value(field: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Right by itself, often at a bound."""
    node = reading(field)
    if "anyOf" in node:
        return st.booleans() | st.integers(-(2**63), 2**53) | st.floats(-9e18, 9e18) | st.text("abc é", max_size=9)
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "properties" in node:
        needed = {name: value(inner) for name, inner in node["properties"].items() if name in node.get("required", [])}
        rest = {name: value(inner) for name, inner in node["properties"].items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=rest)
    match node["type"]:
        case "boolean":
            return st.booleans()
        case "integer" | "number":
            return numbers(node)
        case "string":
            return texts(node)
        case "array":
            return st.lists(value(node["items"]), max_size=3, unique_by=repr, min_size=node.get("minItems", 0))
    inner = node.get("additionalProperties") or next(iter(node["patternProperties"].values()))
    return st.dictionaries(st.sampled_from(["cpu", "a", "example.org/x"]), value(inner), max_size=2, min_size=1)


def numbers(node: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = node.get("minimum", node.get("exclusiveMinimum", -1e3)), node.get("maximum", 1e3)
    if node["type"] == "integer":
        return st.sampled_from([low, high, float(low)]) | st.integers(low, min(high, low + 20))
    return st.floats(low, high, exclude_min="exclusiveMinimum" in node) | st.integers(int(low) + 1, int(high))


def texts(node: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "pattern" not in node:
        return st.sampled_from([word for word in WORDS if len(word) >= node.get("minLength", 0)])
    size = node.get("maxLength", 64)
    matching = st.from_regex(node["pattern"].replace("$", r"\Z"), alphabet=st.characters(codec="utf-8"))
    return matching.filter(lambda text: node.get("minLength", 0) <= len(text) <= size)


@st.composite
def right(draw: st.DrawFn) -> Spec:
    """Mostly accepted: each field for itself is, and the ones that go together mostly do."""
    names = draw(st.lists(st.sampled_from([f"silo-{n}" for n in range(6)]), min_size=3, max_size=6, unique=True))
    spec: Spec = {"app": {"image": "a", "client": "a:b"}, "silos": [{"name": name, "dataset": "d"} for name in names]}
    for path in draw(st.lists(st.sampled_from(sorted(FREE)), max_size=6, unique=True)):
        put(spec, path, draw(FREE[path]))
    if draw(st.booleans()):
        spec |= draw(participants())
    for part in draw(st.lists(st.sampled_from([counts, strategy, stop, model, expose]), max_size=2, unique=True)):
        for path, chosen in draw(part()).items():
            put(spec, tuple(path.split(".")), chosen)
    return spec


@st.composite
def with_one_thing_wrong(draw: st.DrawFn) -> Spec:
    """Mostly refused, for anything."""
    spec = copy.deepcopy(draw(right()))
    path = draw(st.sampled_from(sorted(FIELDS)) | st.sampled_from([("unknown",), ("rounds", "unknown")]))
    if draw(st.integers(0, 4)) == 0:
        return removed(spec, path)
    put(spec, path, draw(st.sampled_from(ODD)))
    return spec


def counts() -> st.SearchStrategy[dict[str, Any]]:
    few = st.integers(2, 6)
    return st.fixed_dictionaries(
        {},
        optional={
            "rounds.updates": few,
            "rounds.quorum": few,
            "privacy.minCohort": few,
            "privacy.allowSmallCohort": st.booleans(),
            "rounds.graceSeconds": st.sampled_from([0, 0.5, 60, 600, 600.5]),
        },
    )


@st.composite
def participants(draw: st.DrawFn) -> Spec:
    selector = {"matchLabels": {"example.org/ward": "chest"}, "dataset": "d"}
    spec: Spec = {"siloSelector": selector, "rounds": {"quorum": draw(st.integers(1, 4))}}
    if draw(st.integers(0, 9)):
        spec["silos"] = []
    if not draw(st.integers(0, 9)):
        del spec["rounds"]
    return spec


@st.composite
def strategy(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([*rules.BUILT_IN, "my.rules:Fancy"]))
    rule = rules.rule(name)
    keys = rule.parameters if rule else ["anything", "momentum"]
    near = st.sampled_from([0, 1, 0.5, 0.999, 1e-9, 10, 10.5, 100, 1000]) | st.floats(-0.1, 1001)
    given = draw(st.dictionaries(st.sampled_from([*keys, "serverLearningRate"]), near, max_size=2))
    if name == "q-FedAvg" and draw(st.integers(0, 5)):
        given["clientLearningRate"] = draw(st.sampled_from([0.1, 1000]))
    forced = {
        path: draw(st.sampled_from([right_one, right_one, right_one, rules.USUAL[path]]))
        for path, right_one in (rule.forces if rule else {}).items()
        if draw(st.booleans())
    }
    return {"strategy": {"name": name, "parameters": given}, **forced}


@st.composite
def stop(draw: st.DrawFn) -> dict[str, Any]:
    metrics = [{"name": "accuracy", "min": 0, "max": 1}, {"name": "loss", "min": -1, "max": draw(st.integers(-1, 5))}]
    number = st.sampled_from([0, 0.5, 1, 4, 5.5, 100, -1, 100.5])
    way = draw(st.sampled_from(["atLeast", "atMost", "plateau"]))
    chosen: Spec = {"metric": draw(st.sampled_from(["loss", "loss", "accuracy", "recall"]))}
    chosen[way] = {"patience": 3} if way == "plateau" else draw(number)
    if not draw(st.integers(0, 5)):
        chosen["atMost"] = 1
    if not draw(st.integers(0, 9)):
        del chosen["metric"]
    return {"rounds.stopWhen": chosen, "metrics": draw(st.lists(st.sampled_from(metrics), max_size=2))}


def model() -> st.SearchStrategy[dict[str, Any]]:
    uri = st.sampled_from(["/m", "s3://a/b", "s3://key:secret@a/b", "s3://key@a/b", "", "a b"])
    patterns = st.lists(st.sampled_from(["head.*", "a", "*", "*.bias"]), max_size=3)
    return st.fixed_dictionaries(
        {
            "model.initial": st.fixed_dictionaries(
                {}, optional={"from": st.sampled_from(["App", "Checkpoint"]), "uri": uri}
            )
        },
        optional={"model.output": st.fixed_dictionaries({"uri": uri}), "model.localParameters": patterns},
    )


def expose() -> st.SearchStrategy[dict[str, Any]]:
    kind = st.sampled_from(["ClusterIP", "NodePort", "Gateway", "Gateway"])
    gateway = st.sampled_from([{"name": "edge"}, {"name": "edge", "namespace": "a", "sectionName": "b.c"}, {}])
    return st.fixed_dictionaries({"server.expose.type": kind}, optional={"server.expose.gatewayRef": gateway})


TANGLED = {"app", "silos", "siloSelector", "strategy", "metrics", "updates", "quorum", "graceSeconds", "stopWhen"}
TANGLED |= {"minCohort", "initial", "localParameters", "gatewayRef", "type"}
TANGLED |= {"partialUpdates", "selection", "weighting"}
FREE = {
    path: value(node)
    for path, node in FIELDS.items()
    if ("properties" not in node and not TANGLED & set(path)) or (path[0] == "app" and len(path) == 2)
}


def put(spec: Spec, path: tuple[str, ...], chosen: Any) -> None:
    *parents, last = path
    at = spec
    for step in parents:
        at = at.setdefault(step, {})
        if not isinstance(at, dict):
            return  # something wrong is there already
    at[last] = chosen


def removed(spec: Spec, path: tuple[str, ...]) -> Spec:
    *parents, last = path
    at: Any = spec
    for step in parents:
        at = at.get(step) if isinstance(at, dict) else None
    if isinstance(at, dict):
        at.pop(last, None)
    return spec
