"""Writes what of the charts follows from something else: values.yaml and README.md from values.schema.json, which says
every value, its default and what it is for; umbel-hub's CustomResourceDefinitions from crds/.

    python hack/chartdoc.py          a test compares
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHARTS = ROOT / "helm"
WIDTH = 118
PLACE = "<!-- values -->"

Schema = dict[str, Any]


def files() -> dict[Path, str]:
    """Every generated file, as it is to be."""
    made = {}
    for chart in ("umbel-hub", "umbel-silo"):
        schema = json.loads((CHARTS / chart / "values.schema.json").read_text("utf-8"))
        made[CHARTS / chart / "values.yaml"] = values(schema)
        text = (CHARTS / chart / "README.template.md").read_text("utf-8")
        made[CHARTS / chart / "README.md"] = text.replace(PLACE, table(schema))
    for source in sorted((ROOT / "crds").glob("*.yaml")):
        made[CHARTS / "umbel-hub/files/crds" / source.name] = source.read_text("utf-8")
    return made


def values(schema: Schema) -> str:
    """Every value with its default, under what it is for."""
    head = f"# {schema['title']}: every one of them, with its default. Generated from values.schema.json."
    return "\n".join([head, *_lines(schema, "")]) + "\n"


def _lines(schema: Schema, indent: str) -> Iterator[str]:
    for name, part in schema["properties"].items():
        if not indent:
            yield ""
        yield from textwrap.wrap(
            part["description"], WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        if _holds_values(part):
            yield f"{indent}{name}:"
            yield from _lines(part, indent + "  ")
        else:
            yield f"{indent}{name}: {_flow(part['default'])}"


def _holds_values(part: Schema) -> bool:
    return part["type"] == "object" and "default" not in part


def _flow(value: Any) -> str:
    if isinstance(value, str) and "\n" not in value:
        return json.dumps(value, ensure_ascii=False)
    flow = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return flow.removesuffix("\n").removesuffix("\n...")


def table(schema: Schema) -> str:
    rows = ["| value | what it is for | default |", "|---|---|---|"]
    rows += [f"| `{path}` | {_cell(part)} | `{_flow(part['default'])}` |" for path, part in leaves(schema)]
    return "\n".join(rows)


def _cell(part: Schema) -> str:
    told = part["description"]
    if "enum" in part:
        told += " One of " + ", ".join(f"`{value}`" for value in part["enum"]) + "."
    return told.replace("|", "\\|")


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
