"""The shipped alerts with the shipped thresholds, before Prometheus's own promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from umbel_monitoring import alerts, rule

from . import course
from .scenarios import SCENARIOS, Scenario

ROOT = Path(__file__).parents[2]
ALERTS = {alert.name: alert for group in alerts.GROUPS for alert in group.alerts}
SHIPPED = rule.defaults(alerts.GROUPS)
LABEL = re.compile(r"{{ \$labels\.(\w+) }}")

pytestmark = pytest.mark.process


def _another(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value + 1
    return "page" if name == "severity" else "7m"


def _folded(part: Any) -> Any:
    """Helm's `>-` makes one line of several."""
    return json.loads(re.sub(r"(\\n|\s)+", " ", json.dumps(part)))


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule.rules(alerts.GROUPS, SHIPPED, alerts.RUNBOOKS)))
    return path


def test_promtool_finds_no_fault_in_the_rules(rules: Path) -> None:
    promtool("check", "rules", "--lint-fatal", rules)


def expected(scenario: Scenario) -> list[dict[str, Any]]:
    if not scenario.says:
        return []
    alert = ALERTS[scenario.alert]
    summary = LABEL.sub(lambda match: scenario.labels[match[1]], alert.summary)
    return [
        {
            "exp_labels": {**scenario.labels, "severity": alert.severity},
            "exp_annotations": {
                "summary": summary,
                "description": scenario.says,
                "runbook_url": f"{alerts.RUNBOOKS}{alert.name}.md",
            },
        }
    ]


def tried(scenario: Scenario, rules: Path) -> dict[str, Any]:
    """As promtool reads it."""
    asked = {"alertname": scenario.alert, "eval_time": scenario.at, "exp_alerts": expected(scenario)}
    series = [{"series": name, "values": values} for name, values in scenario.series.items()]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [asked]}
    return {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_an_alert_fires_when_it_should_and_not_otherwise(scenario: Scenario, rules: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps(tried(scenario, rules)))
    promtool("test", "rules", path)


def test_every_alert_is_tried_both_ways() -> None:
    assert {scenario.alert for scenario in SCENARIOS if scenario.says} == set(ALERTS)
    assert {scenario.alert for scenario in SCENARIOS if not scenario.says} == set(ALERTS)


# ---- what a chart makes of them

ALL_CHANGED = {key: {name: _another(name, value) for name, value in values.items()} for key, values in SHIPPED.items()}


@pytest.mark.parametrize("values", [{}, course.SHORTER, ALL_CHANGED], ids=["shipped", "shorter", "all-changed"])
def test_the_chart_makes_the_same_of_its_values(values: dict[str, Any], tmp_path: Path) -> None:
    """Each value beneath `alerts` has its effect, and what the tests try is what is installed."""
    whole = {key: {**shipped, **values.get(key, {})} for key, shipped in SHIPPED.items()}
    made = rule.rules(alerts.GROUPS, whole, alerts.RUNBOOKS)
    assert _folded(course.from_the_chart(values, tmp_path)) == _folded(made)


@pytest.mark.parametrize("half", [0, 1])
def test_each_can_be_switched_off_without_its_neighbours(half: int, tmp_path: Path) -> None:
    off = {key: {"enabled": False} for key in list(SHIPPED)[half::2]}
    made = rule.rules(alerts.GROUPS, {key: {**SHIPPED[key], **off.get(key, {})} for key in SHIPPED}, alerts.RUNBOOKS)
    assert _folded(course.from_the_chart(off, tmp_path)) == _folded(made)


def test_thresholds_and_durations_are_values() -> None:
    shorter = {key: {**values, "for": "1s", "severity": "page"} for key, values in SHIPPED.items()}
    shorter["waitingForSilos"]["enabled"] = False
    shorter["metricsWithheld"]["rounds"] = 2
    made = rule.rules(alerts.GROUPS, shorter, "https://runbooks.example.org/")
    found = {entry["alert"]: entry for group in made["groups"] for entry in group["rules"]}
    assert found.keys() == ALERTS.keys() - {"UmbelWaitingForSilos"}
    assert {entry["for"] for entry in found.values()} == {"1s"}
    assert {entry["labels"]["severity"] for entry in found.values()} == {"page"}
    assert ">= 2" in found["UmbelMetricsWithheld"]["expr"]
    address = found["UmbelMetricsWithheld"]["annotations"]["runbook_url"]
    assert address == "https://runbooks.example.org/UmbelMetricsWithheld.md"


def test_the_values_that_the_chart_has_are_the_defaults() -> None:
    assert yaml.safe_load(rule.commented(alerts.GROUPS)) == SHIPPED


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs/runbooks").glob("Umbel*.md")}
    assert pages.keys() == ALERTS.keys()
    for name, text in pages.items():
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert headings == [name, "What it means", "What to look at", "What to do"], name
