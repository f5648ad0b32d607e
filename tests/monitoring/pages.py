"""The shipped pages, read as Grafana would read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "helm/umbel-hub"
FILES = sorted((CHART / "dashboards").glob("*.json"))


@dataclass(frozen=True)
class Asked:
    """One query of one panel."""

    page: str
    panel: str
    letter: str
    expr: str
    instant: bool

    @property
    def said(self) -> str:
        """Without the page: most panels of the one are on the other."""
        return f"{self.panel} {self.letter}"

    def __str__(self) -> str:
        return f"{self.page}: {self.said}"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def queries(page: dict[str, Any]) -> Iterator[Asked]:
    for panel in panels(page):
        for target in panel["targets"]:
            yield Asked(
                page["uid"], panel["title"], target["refId"], target["expr"], bool(target.get("instant", False))
            )


CLOCK = re.compile(r"time\(\) - | - time\(\)")
# What has an end that stands: nothing but the clock moves in them.
ENDS = {
    *("First certificate ends in A", "First certificate ends in B", "Certificates end in A", "Authority ends in A"),
    *("Job's deadline in A", "Jobs D"),
}


def without_clock(expr: str) -> str:
    """Of a time since or until something, when that something is: the clock moves whether it does or not."""
    return CLOCK.sub("", expr)


def values_of_variables(page: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, selector and label of each variable whose values Grafana asks for."""
    for variable in page["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert found is not None
            yield variable["name"], found[1], found[2]


def substituted(text: str, **variables: str) -> str:
    """As Grafana does before it asks: every variable must have a value."""
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    assert "$" not in text, f"a variable without a value: {text}"
    return text
