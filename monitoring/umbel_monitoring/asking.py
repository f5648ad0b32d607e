"""A page's queries put to a Prometheus, with Grafana's variables filled in."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LABEL = re.compile(r"{{\s*(\w+)\s*}}")


@dataclass(frozen=True)
class Line:
    """``times`` and ``values``: without gaps."""

    labels: Mapping[str, str]
    name: str
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Source:
    """``url``: of the Prometheus; ``start``, ``end``: Unix time; ``step``: seconds between two points."""

    url: str
    start: float
    end: float
    step: float
    variables: Mapping[str, str]

    def lines(self, target: Mapping[str, Any]) -> list[Line]:
        """Of one query; at the end of the range alone where the panel asks for an instant."""
        expr = target["expr"]
        for name, value in self.variables.items():
            expr = expr.replace(f"${name}", value)
        if target.get("instant"):
            found = self._ask("query", query=expr, time=self.end)
            series = [(entry["metric"], [entry["value"]]) for entry in found]
        else:
            found = self._ask("query_range", query=expr, start=self.start, end=self.end, step=self.step)
            series = [(entry["metric"], entry["values"]) for entry in found]
        made = [_line(labels, points, target.get("legendFormat", "")) for labels, points in series]
        return [line for line in made if line.values]

    def _ask(self, path: str, **parameters: Any) -> list[Any]:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found


def _line(labels: Mapping[str, str], points: list[Any], legend: str) -> Line:
    whole = [(float(at), float(value)) for at, value in points]
    kept = [(at, value) for at, value in whole if math.isfinite(value)]
    name = LABEL.sub(lambda match: labels.get(match[1], ""), legend)
    return Line(labels, name, [at for at, _ in kept], [value for _, value in kept])
