"""``umbel run --dry-run``: the resolved job as a manifest that says which values are defaults, what a round costs as
far as that can be known beforehand, and what is risky."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from umbel.cli.estimate import estimate, model_size
from umbel.job import FederatedJob
from umbel.risks import risks

DEFAULT = "default"
UNSET = {"overSelection": "from the return rate"}  # what happens without a value, where that is not nothing


def render_plan(path: Path, job: FederatedJob) -> str:
    """The whole text; valid YAML, so that it can be saved and run."""
    given = yaml.safe_load(path.read_text("utf-8"))
    resolved = job.model_dump(mode="json", by_alias=True)
    lines = [*annotate(resolved, given), "", *comment(estimate(job, model_size(job, path.resolve().parent)))]
    found = risks(job)
    lines += ["", *comment(f"warning: {risk.field}: {risk.message}" for risk in found)] if found else []
    return "\n".join(lines)


def annotate(resolved: Any, given: Any, indent: int = 0) -> Iterator[str]:
    """``resolved`` as block YAML: each value that ``given`` lacks is marked as a default, one that is not set is a
    comment."""
    pad = "  " * indent
    if isinstance(resolved, Mapping):
        for key, value in resolved.items():
            there = given.get(key) if isinstance(given, Mapping) else None
            yield from _entry(f"{pad}{_scalar(key)}:", value, there, indent)
    else:
        for number, value in enumerate(resolved):
            yield from _item(pad, value, _counterpart(value, number, given), indent)


def _entry(head: str, value: Any, given: Any, indent: int) -> Iterator[str]:
    if _hollow(value):
        value = {}
    if value is None:
        key = head.strip()
        yield f"{head[: -len(key)]}# {key} {UNSET.get(key.removesuffix(':'), 'not set')}"
    elif isinstance(value, Mapping | list) and value:
        yield head
        yield from annotate(value, given, indent + 1)
    else:
        yield f"{head} {_scalar(value)}" + ("" if given is not None else f"  # {DEFAULT}")


def _hollow(value: Any) -> bool:
    """Whether a mapping says nothing: ``{requests: {}, limits: {}}``."""
    return isinstance(value, Mapping) and all(v is None or v == [] or _hollow(v) for v in value.values())


def _item(pad: str, value: Any, given: Any, indent: int) -> Iterator[str]:
    if isinstance(value, Mapping | list) and value:
        first, *rest = annotate(value, given, indent + 1)
        yield f"{pad}- {first.strip()}"
        yield from rest
    else:
        yield f"{pad}- {_scalar(value)}" + ("" if given is not None else f"  # {DEFAULT}")


def _counterpart(value: Any, number: int, given: Any) -> Any:
    """What the author wrote for an item: the one of its name, since resolving may add some before it."""
    if not isinstance(given, Sequence):
        return None
    if isinstance(value, Mapping) and "name" in value:
        return next((g for g in given if isinstance(g, Mapping) and g.get("name") == value["name"]), None)
    return given[number] if number < len(given) else None


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def comment(lines: Iterable[str]) -> Iterator[str]:
    return (f"# {line}".rstrip() for line in lines)
