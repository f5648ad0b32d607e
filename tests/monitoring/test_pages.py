"""The pages that the chart ships: made from the code, complete, and asking only for what is exported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry, ProcessCollector

from umbel.server.metric_names import METRICS
from umbel_monitoring import alerts
from umbel_monitoring.__main__ import files
from umbel_operator.metrics import OF_A_JOB, Metrics

from .conftest import ROOT
from .pages import CHART, FILES, panels, queries, read

PAGES = [read(path) for path in FILES]
PANELS = [pytest.param(panel, id=f"{page['uid']}: {panel['title']}") for page in PAGES for panel in panels(page)]


@pytest.mark.parametrize("name", sorted(files()))
def test_the_chart_has_what_the_code_makes(name: str) -> None:
    assert (CHART / name).read_text("utf-8") == files()[name], "run `make monitoring`"


def test_there_are_two_pages_and_each_leads_to_the_other() -> None:
    assert {page["uid"]: page["title"] for page in PAGES} == {"umbel-job": "Umbel: job", "umbel-jobs": "Umbel: jobs"}
    for page in PAGES:
        (link,) = page["links"]
        assert link["type"] == "dashboards"
        assert set(link["tags"]) <= set(page["tags"])
        assert link["includeVars"]
        assert link["keepTime"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_grafanas_own_types_read_a_page_and_write_the_same(path: Path) -> None:
    whole = read(path)
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(whole)))
    assert again == whole


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_panels_have_numbers_of_their_own_and_do_not_overlap(page: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in page["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: dict[tuple[int, int], str] = {}
    for panel in page["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} over {taken[x, y]}"
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_variables(page: dict[str, Any]) -> None:
    by_name = {variable["name"]: variable for variable in page["templating"]["list"]}
    assert list(by_name) == ["datasource", "namespace", "job"]
    assert by_name["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$(\w+)", " ".join(query.expr for query in queries(page))))
    assert used == {"namespace", "job", "__rate_interval"}


def exported() -> set[str]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    plain = {metric.name for found in (registry, Metrics("1").registry) for metric in found.collect()}
    totals = {f"{name}_total" for name in plain}
    histograms = [name for name, declared in METRICS.items() if declared.kind == "histogram"]
    parts = {f"{n}_{part}" for n in [*histograms, *plain] for part in ("bucket", "sum", "count")}
    return {*METRICS, *OF_A_JOB, *plain, *totals, *parts, "ALERTS"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_is_exported(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        asked = set(re.findall(r"\b(fl_\w+|process_\w+|ALERTS)\b", target["expr"])) - {"fl_namespace", "fl_job"}
        assert asked <= exported()
        assert asked


def test_every_metric_of_the_server_is_on_a_page_or_known_not_to_be() -> None:
    shown = " ".join(query.expr for page in PAGES for query in queries(page))
    missing = {name for name in METRICS if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)}
    assert missing == {
        "fl_build_info",
        "fl_job_round_timeout_seconds",  # the alert on old checkpoints measures with it
        "fl_round_start_timestamp_seconds",
    }


# ---- the page of the docs

TOLD = (ROOT / "docs/monitoring.md").read_text("utf-8")


@pytest.mark.parametrize("name", OF_A_JOB)
def test_every_figure_of_a_job_is_told(name: str) -> None:
    declared = OF_A_JOB[name]
    labels = "; ".join(f"`{key}`: {', '.join(values) or 'any of the job'}" for key, values in declared.labels.items())
    assert f"| `{name}` | {labels} | {declared.help.rstrip('.')} |" in TOLD


def test_every_metric_of_the_operator_and_no_other_is_told() -> None:
    told = set(re.findall(r"^\| `(fl_\w+)`", TOLD, re.MULTILINE))
    own = {f"{m.name}_total" if m.type == "counter" else m.name for m in Metrics("1").registry.collect()}
    assert told == own


def test_every_alert_and_no_other_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \| \[runbook\]\(runbooks/\1\.md\) \|$", TOLD, re.MULTILINE)
    assert told == [(alert.name, alert.severity) for group in alerts.GROUPS for alert in group.alerts]
