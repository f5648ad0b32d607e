"""What is generated of the charts is as it would be generated now."""

from __future__ import annotations

import json
import tomllib

import pytest
import yaml

from .conftest import ROOT

import chartdoc  # isort: skip

CHARTS = ("umbel-hub", "umbel-silo")
FILES = chartdoc.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path: chartdoc.Path) -> None:
    assert path.read_text("utf-8") == FILES[path], "run: make charts"


def test_no_crd_of_a_former_version_is_left() -> None:
    shipped = {path.name for path in (ROOT / "helm/umbel-hub/files/crds").iterdir()}
    assert shipped == {path.name for path in (ROOT / "crds").glob("*.yaml")}


@pytest.mark.parametrize("chart", CHARTS)
def test_every_object_of_the_schema_is_closed(chart: str) -> None:
    def look(part: chartdoc.Schema, path: str) -> None:
        if part.get("type") == "object" and path != "global":
            assert "additionalProperties" in part, f"{path} takes anything"  # or says that it does
        for name, inner in part.get("properties", {}).items():
            assert inner.get("description"), f"{path}.{name} says not what it is for"
            look(inner, f"{path}.{name}".lstrip("."))

    look(json.loads((ROOT / f"helm/{chart}/values.schema.json").read_text()), "")


@pytest.mark.parametrize("chart", CHARTS)
def test_versions_are_the_project_s(chart: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = yaml.safe_load((ROOT / f"helm/{chart}/Chart.yaml").read_text())
    assert (found["version"], found["appVersion"]) == (version, version)


@pytest.mark.parametrize(
    ("image", "projects", "left_out"),
    [
        ("control_image", ["pyproject.toml", "operator/pyproject.toml"], {"umbel==0.1.0"}),
        ("client_image", ["pyproject.toml"], set()),
    ],
)
def test_an_image_installs_what_the_project_depends_on(image: str, projects: list[str], left_out: set[str]) -> None:
    needed: set[str] = set()
    for project in projects:
        needed |= set(tomllib.loads((ROOT / project).read_text())["project"]["dependencies"])
    lines = (ROOT / image / "requirements.txt").read_text().splitlines()
    assert needed - left_out <= {line for line in lines if not line.startswith("#")}
