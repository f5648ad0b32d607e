"""Writes what of the charts follows from something else, and is committed all the same, as Helm reads it:

- values.yaml and README.md from values.schema.json, which says every value, its default and what it is for;
- in the schemas, umbel-silo's `site` from the agent's own model of a site file, umbel-hub's `alerts` from monitoring/;
- umbel-hub's CustomResourceDefinitions from crds/.

    make charts          a test compares
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from umbel_operator.agent.site import Site

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "monitoring"))

from umbel_monitoring.alerts import GROUPS, RUNBOOKS  # noqa: E402
from umbel_monitoring.rule import Alert  # noqa: E402

CHARTS = ROOT / "helm"
WIDTH = 118
PLACE = "<!-- values -->"

Schema = dict[str, Any]


def files() -> dict[Path, str]:
    """Every generated file, as it is to be."""
    made = {}
    for chart in ("umbel-hub", "umbel-silo"):
        folder = CHARTS / chart
        schema = json.loads((folder / "values.schema.json").read_text("utf-8"))
        if chart == "umbel-silo":
            schema["properties"]["site"] = site()
        else:
            schema["properties"]["alerts"] = alerts()
        made[folder / "values.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        made[folder / "values.yaml"] = values(schema)
        text = (folder / "README.template.md").read_text("utf-8")
        made[folder / "README.md"] = text.replace(PLACE, table(schema))
    for source in sorted((ROOT / "crds").glob("*.yaml")):
        made[CHARTS / "umbel-hub/files/crds" / source.name] = source.read_text("utf-8")
    return made


# ---- schemas


def site() -> Schema:
    """The site file's, without what is for other backends. Nothing of it has a default in the chart: what its
    administrator does not write, the agent must not take for written."""
    whole = Site.model_json_schema(by_alias=True)
    made = _plain(whole, whole["$defs"])
    for section in ("process", "slurm"):
        del made["properties"][section]
    del made["properties"]["datasets"]["additionalProperties"]["properties"]["path"]
    del made["required"]  # the name, which is checked where a better message can be given
    told = "The site file: the silo's name, what may run here, its data sets. docs/site.md explains it."
    return {**made, "description": told, "default": {}}


def alerts() -> Schema:
    """Of each alert, whether and when it fires."""
    made: Schema = {"runbooks": {**_scalar(RUNBOOKS), "description": "What the addresses of the runbooks begin with."}}
    made |= {alert.key: _alert(alert) for group in GROUPS for alert in group.alerts}
    return _object(
        "The alerts of prometheusRule: whether, and from when on, each fires. docs/runbooks/ explains them.", made
    )


def _alert(alert: Alert) -> Schema:
    told = {
        "enabled": "Whether it is there.",
        "for": "How long it has to hold.",
        "severity": "Its label severity.",
        **{name: comment for name, (_, comment) in alert.parameters.items()},
    }
    properties = {name: {**_scalar(value), "description": told[name]} for name, value in alert.values.items()}
    summary = alert.summary.replace("{{ $labels.", "").replace(" }}", "")
    return _object(f"{alert.name}: {summary}.", properties)


def _object(description: str, properties: Schema) -> Schema:
    return {"description": description, "type": "object", "additionalProperties": False, "properties": properties}


def _scalar(value: Any) -> Schema:
    made: Schema = {"default": value}
    if isinstance(value, bool):
        return made | {"type": "boolean"}
    if isinstance(value, int | float):
        return made | {"type": "number", "minimum": 0}
    duration = value[:-1].isdecimal() and value[-1] in "smhdw"
    return made | {"type": "string", **({"pattern": "^([0-9]+(ms|[smhdw]))+$"} if duration else {"minLength": 1})}


def _plain(part: Schema, definitions: Schema) -> Schema:
    """References followed, titles gone; what may be null may be left out instead."""
    if "$ref" in part:
        part = {**definitions[part["$ref"].rpartition("/")[2]], **{k: v for k, v in part.items() if k != "$ref"}}
    if "anyOf" in part:
        (choice,) = (one for one in part["anyOf"] if one.get("type") != "null")
        part = _plain({**choice, **{key: value for key, value in part.items() if key != "anyOf"}}, definitions)
        return {key: value for key, value in part.items() if key != "default" or value is not None}
    made = {key: value for key, value in part.items() if key not in ("title", "$defs")}
    for key in ("properties", "patternProperties"):
        if key in made:
            made[key] = {name: _plain(inner, definitions) for name, inner in made[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _plain(made[key], definitions)
    if "patternProperties" in made:
        made["additionalProperties"] = False
    return made


# ---- values.yaml and README.md


def values(schema: Schema) -> str:
    """Every value with its default, under what it is for."""
    head = f"# {schema['title']}: every one of them, with its default. Made by `make charts` from values.schema.json."
    return "\n".join([head, *_lines(schema, "")]) + "\n"


def _lines(schema: Schema, indent: str) -> Iterator[str]:
    for name, part in schema["properties"].items():
        if not indent:
            yield ""
        mark = f"{indent}# "
        yield from textwrap.wrap(part["description"], WIDTH, initial_indent=mark, subsequent_indent=mark)
        if _holds_values(part):
            yield f"{indent}{name}:"
            yield from _lines(part, indent + "  ")
        else:
            yield f"{indent}{name}: {_flow(part['default'])}"
            yield from _possible(part, indent + "  ")


def _possible(part: Schema, indent: str) -> Iterator[str]:
    """What may be written there, as comments: it has no default in the chart."""
    for name, inner in _written(part):
        told = inner["description"] + (f" Default: {_flow(inner['default'])}" if "default" in inner else "")
        yield from textwrap.wrap(
            f"{name}: {told}", WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )


def _written(part: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """(path, schema) of all that may be written into a value, but for what Kubernetes users know."""
    for name, inner in part.get("properties", {}).items():
        path = f"{prefix}{name}"
        below = inner.get("additionalProperties")
        if inner.get("type") == "object" and isinstance(below, dict) and "properties" in below:
            yield path, inner
            yield from _written(below, f"{path}.NAME.")
        elif inner.get("type") == "object" and "properties" in inner and "default" not in inner:
            yield from _written(inner, f"{path}.")
        else:
            yield path, inner


def _holds_values(part: Schema) -> bool:
    return part["type"] == "object" and "default" not in part


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    flow = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return flow.removesuffix("\n").removesuffix("\n...")


def table(schema: Schema) -> str:
    rows = ["| value | what it is for | default |", "|---|---|---|"]
    for path, part in leaves(schema):
        for name, inner in ((path, part), *_written(part, f"{path}.")):
            default = f"`{_flow(inner['default'])}`" if "default" in inner else ""
            rows.append(f"| `{name}` | {_cell(inner)} | {default} |")
    return "\n".join(rows)


def _cell(part: Schema) -> str:
    told = part["description"]
    if "enum" in part:
        told += " One of " + ", ".join(f"`{value}`" for value in part["enum"]) + "."
    return str(told).replace("|", "\\|")


def leaves(schema: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """(path, schema) of every value that has a default."""
    for name, part in schema["properties"].items():
        if _holds_values(part):
            yield from leaves(part, f"{prefix}{name}.")
        else:
            yield prefix + name, part


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
