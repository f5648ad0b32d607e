#!/usr/bin/env python3
"""Writes docs/job.md from the models that read a manifest, so that the two cannot disagree.

.venv/bin/python hack/jobdoc.py          # prints it
.venv/bin/python hack/jobdoc.py --write  # replaces docs/job.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from umbel import rules
from umbel.job import FederatedJob
from umbel.manifest.scalars import PATTERN_WORDS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "job.md"
SEPARATOR = " Default: "  # in a description: what an absent field means, where that is computed
HEADER = "| Field | Default | Value | Meaning |\n|---|---|---|---|"
UNREAD = {"status"}

BEGINNING = """\
# The FederatedJob

Every field of a manifest, with its default and its bounds. This page is made from the code by `hack/jobdoc.py`.

Only `apiVersion`, `kind`, `metadata.name`, `spec.app.client` and the participants must be given. Unknown fields are
refused, and so are keys given twice; a field given as null counts as absent. A manifest is at most 1 MiB. What is wrong
is said in one line for each fault: the field, the fault, the remedy.

```sh
.venv/bin/umbel run --dry-run examples/digits/job.yaml   # a job with every default filled in, and warnings
```

Fields have to go together too:

- `privacy.minCohort` ≤ `rounds.quorum` ≤ `rounds.updates` ≤ the number of silos.
- `privacy.minCohort` below 3 needs `privacy.allowSmallCohort: true`.
- `rounds.graceSeconds` ≤ `rounds.timeoutSeconds`.
- A metric's `min` is below its `max`. `loss` is always a metric, from 0 to 100 unless listed with another range.
- `rounds.stopWhen.metric` is `loss` or a listed metric, with exactly one of `atLeast`, `atMost`, `plateau`.
- Exactly one of `silos` and `siloSelector`; with the selector `rounds.quorum` must be given.

`umbel run` and `umbel server` read the fields that only a cluster needs (`app.image`, `model.credentialsSecret`,
`model.retain`, `silos[].resources`, `server`, `ttlSecondsAfterFinished`, `managedBy`), check them, and do nothing with
them. `umbel run` starts a process for each of `silos`, so it refuses a `siloSelector`.
"""

RULES = """\
## Built-in strategies

`strategy.name` is one of these, or a class of your own as `module:Class`. Parameters are numbers.

| Strategy | Parameter | Default | Value |
|---|---|---|---|
"""
FORCED = """
A rule that is right only under certain settings sets them where the manifest is silent and refuses others:
"""


def page() -> str:
    schema = FederatedJob.model_json_schema(by_alias=True)
    parts = [BEGINNING]
    queue: list[tuple[str, Mapping[str, Any]]] = [("", schema)]
    shown: dict[str, str] = {}
    while queue:
        path, part = queue.pop(0)
        title = f"`{path}`" if path else "The manifest"
        known = path and shown.setdefault(part["title"], path)
        if known and known != path:
            parts.append(f"## {title}\n\nAs [`{known}`](#{anchor(known)}).\n")
            continue
        inner: list[tuple[str, Mapping[str, Any]]] = []
        rows = [row(field, path, part, schema, inner) for field in part["properties"] if field not in UNREAD]
        parts.append("\n".join([f"## {title}", "", part["description"], "", HEADER, *rows, ""]))
        queue = inner + queue  # what belongs together stays together
    parts.append(RULES + "\n".join(_parameters()) + "\n" + FORCED + "\n" + "\n".join(_forced()) + "\n")
    return "\n".join(parts)


def row(
    field: str,
    path: str,
    part: Mapping[str, Any],
    schema: Mapping[str, Any],
    inner: list[tuple[str, Mapping[str, Any]]],
) -> str:
    """One line of a table; a mapping with fields of its own is put into ``inner``."""
    found = part["properties"][field]
    place = f"{path}.{field}".lstrip(".")
    value, reference = words(found, schema)
    # The schema leaves a field's description out where it is its mapping's own.
    description = found.get("description") or (reference[1]["description"] if reference else "")
    meaning, _, computed = description.partition(SEPARATOR)
    name = f"`{field}`"
    if reference is not None:
        place += "[]" * (reference[0] == "list")
        inner.append((place, reference[1]))
        name = f"[`{field}`](#{anchor(place)})"
    default = "required" if field in part.get("required", ()) else _default(found, computed)
    return f"| {name} | {default} | {value} | {meaning} |"


def _default(found: Mapping[str, Any], computed: str) -> str:
    if computed:
        return computed.rstrip(".")
    if "default" in found:
        value = found["default"]
        return "none" if value is None else f"`{json.dumps(tidy(value))}`"
    return "`[]`" if found.get("type") == "array" else "`{}`"


def words(found: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[str, tuple[str, Mapping[str, Any]] | None]:
    """What a value may be, and the part of the manifest that it is (``one``) or is made of (``list``), if any."""
    options = [option for option in found.get("anyOf", [found]) if option.get("type") != "null"]
    if len(options) > 1:
        return " or ".join(words(option, schema)[0] for option in options), None
    (one,) = options
    if "$ref" in one:
        return "mapping", ("one", schema["$defs"][one["$ref"].rpartition("/")[2]])
    if one.get("type") == "array":
        value, reference = words(one["items"], schema)
        text = f"list{_count(one, 'Items')} of {'mappings' if reference else f'strings, each {value}'}"
        if "enum" in one["items"]:
            text = f"list{_count(one, 'Items')} of {value}"
        return text, ("list", reference[1]) if reference else None
    if one.get("type") == "object":
        values = one.get("additionalProperties") or next(iter(one["patternProperties"].values()))
        value, _ = words(values, schema)
        return f"mapping{_count(one, 'Properties')} to {value}", None
    return _scalar(one), None


def _scalar(one: Mapping[str, Any]) -> str:
    if "const" in one:
        return f"`{one['const']}`"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    kind = one.get("type")
    if kind == "boolean":
        return "boolean"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(one)
    if kind == "string":
        pattern = PATTERN_WORDS.get(one.get("pattern", ""), ("is not a string", ""))[0].removeprefix("is not ")
        return pattern.removeprefix("a ") + (f", at most {one['maxLength']} characters" if "maxLength" in one else "")
    return "any"


def _range(one: Mapping[str, Any]) -> str:
    low, high = one.get("minimum"), one.get("maximum")
    if low is not None and high is not None:
        return f", {number(low)} to {number(high)}"
    if "exclusiveMinimum" in one:
        return f", more than {number(one['exclusiveMinimum'])}" + (f", at most {number(high)}" if high else "")
    return f", at least {number(low)}" if low is not None else ""


def _count(one: Mapping[str, Any], of: str) -> str:
    low, high = one.get(f"min{of}"), one.get(f"max{of}")
    if low and high:
        return f" ({low} to {high:,})"
    return f" (at most {high:,})" if high else ""


def number(value: float) -> str:
    return f"{tidy(value):,}"


def tidy(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def anchor(path: str) -> str:
    """Of a heading that is the path in backticks."""
    return "".join(c for c in path.lower() if c.isalnum() or c in "-_")


def _parameters() -> Iterator[str]:
    for name, rule in rules.BUILT_IN.items():
        for key, p in rule.parameters.items():
            low = f"{'more than' if p.above else 'at least'} {number(p.low)}"
            high = f"{'less than' if p.below else 'at most'} {number(p.high)}"
            default = "required" if p.default is None else f"`{tidy(p.default)}`"
            yield f"| `{name}` | `{key}` | {default} | {low}, {high} |"


def _forced() -> Iterator[str]:
    for name, rule in rules.BUILT_IN.items():
        if rule.forces:
            yield f"- `{name}`: " + ", ".join(f"`{path}: {value}`" for path, value in rule.forces.items())


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        TARGET.write_text(page(), "utf-8")
    else:
        print(page(), end="")
