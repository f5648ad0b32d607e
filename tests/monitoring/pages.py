"""The shipped pages, read as Grafana would read them."""

from __future__ import annotations

import json
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

    def __str__(self) -> str:
        return f"{self.page}: {self.panel} {self.letter}"


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


def substituted(text: str, **variables: str) -> str:
    """As Grafana does before it asks: every variable must have a value."""
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    assert "$" not in text, f"a variable without a value: {text}"
    return text
