"""What a site file leaves to the hub is said: at the agent's start, and by `umbel agent check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from unit.operator.agent.silo import UNASKED

from umbel_operator.agent import site
from umbel_operator.agent.leeway import leeway
from umbel_operator.agent.upkeep import check_command

OPEN: dict[str, Any] = {
    "silo": "hospital-a",
    "policy": {**UNASKED, "images": ["*"], "requireDigest": False},
    "datasets": {"ct": {}, "mri": None},
}
TIGHT: dict[str, Any] = {
    "silo": "hospital-a",
    "policy": {
        "approval": "Auto",
        "images": ["registry.example.org/acme/*"],
        "clients": ["ct.*"],
        "namespaces": ["research"],
        "jobs": ["ct-*"],
        "maxSeconds": 86_400,
        "privacy": {"minCohort": 3, "minExamples": 11},
    },
    "datasets": {"ct": {"jobs": ["ct-*"]}},
    "pods": {"ceilings": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}},
}
EVERYTHING = [
    "policy.images: any image",
    "policy.requireDigest: what a tag stands for, today and tomorrow",
    "policy.clients: any client module",
    "policy.namespaces: any namespace",
    "policy.jobs: any job",
    "policy.privacy.minCohort: of how few silos something is released",
    "policy.privacy.minExamples: of how few examples something is released",
    "pods.ceilings: how much a client is given of cpu, memory, devices",
    "datasets.*.namespaces, .jobs: which of the jobs allowed above see ct, mri",
    "policy.maxSeconds: how long a client is here",
]


def said(data: dict[str, Any]) -> list[str]:
    return [str(one) for one in leeway(site.parse(data))]


def test_a_policy_that_allows_everything_is_told_all_that_it_allows() -> None:
    assert said(OPEN) == EVERYTHING


def test_one_that_bounds_everything_leaves_nothing() -> None:
    assert said(TIGHT) == []


def test_a_ceiling_of_tasks_or_nodes_bounds_no_device() -> None:
    ceilings = {"cpu": "4", "memory": "8Gi", "umbel.dev/tasks": "8", "umbel.dev/nodes": "2"}
    assert said({**TIGHT, "pods": {"ceilings": ceilings}}) == ["pods.ceilings: how much a client is given of devices"]


@pytest.mark.parametrize(
    ("section", "field", "value", "left"),
    [
        ("policy", "images", ["a", "*"], "policy.images"),
        ("policy", "requireDigest", False, "policy.requireDigest"),
        ("policy", "clients", ["*"], "policy.clients"),
        ("policy", "namespaces", ["*"], "policy.namespaces"),
        ("policy", "jobs", ["*", "ct"], "policy.jobs"),
        ("policy", "maxSeconds", None, "policy.maxSeconds"),
        ("policy", "privacy", {"minCohort": 3}, "policy.privacy.minExamples"),
        ("policy", "privacy", {"minExamples": 3}, "policy.privacy.minCohort"),
        ("pods", "ceilings", {"memory": "1Gi", "nvidia.com/gpu": "0"}, "pods.ceilings"),
        ("pods", "ceilings", {"cpu": "1", "nvidia.com/gpu": "0"}, "pods.ceilings"),
        ("pods", "ceilings", {"cpu": "1", "memory": "1Gi"}, "pods.ceilings"),
        ("datasets", "mri", {}, "datasets.*.namespaces, .jobs"),
    ],
)
def test_one_rule_less_is_one_line_more(section: str, field: str, value: Any, left: str) -> None:
    found = leeway(site.parse({**TIGHT, section: {**TIGHT[section], field: value}}))
    assert [one.field for one in found] == [left]


def test_on_slurm_nodes_are_counted_too() -> None:
    slurm = {**TIGHT, "slurm": {"python": "/srv/venv/bin/python"}}
    assert said(slurm) == ["pods.ceilings: how much a client is given of umbel.dev/nodes"]


def test_what_was_looked_at_before_it_runs_is_left_to_nobody_but_the_time_that_it_takes() -> None:
    manual = {"silo": "hospital-a", "policy": {"images": ["*"]}, "datasets": {"ct": {}}}
    assert said(manual) == ["policy.maxSeconds: how long a client is here"]
    assert said({**manual, "policy": {"images": ["*"], "maxSeconds": 60}}) == []


def test_check_says_it(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    for data, expected in ((OPEN, ["it leaves to the hub:", *(f"  {line}" for line in EVERYTHING)]), (TIGHT, None)):
        file.write_text(yaml.safe_dump(data))
        done = CliRunner().invoke(check_command, ["--site", str(file)])
        assert done.output.splitlines()[1:] == (expected or ["it leaves nothing to the hub"])
