"""The dry run's text: a manifest with its defaults marked, and honest numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from umbel.cli import estimate, plan, units

GIVEN = {"metadata": {"name": "ct"}, "spec": {"seed": 7, "silos": [{"name": "a", "dataset": "x"}]}}
RESOLVED = {
    "metadata": {"name": "ct", "namespace": "default"},
    "spec": {
        "seed": 7,
        "metrics": [],
        "output": {"uri": ""},
        "rounds": {"total": 50},
        "silos": [{"name": "a", "dataset": "x", "resources": {}}],
        "tags": ["yes", "1"],
    },
}
NESTED: dict[str, object] = {
    "rounds": {"total": 5, "overSelection": None, "stopWhen": {"metric": None, "names": [], "plateau": {}}},
    "image": None,
}


def test_the_plan_is_yaml_that_says_the_same() -> None:
    assert yaml.safe_load("\n".join(plan.annotate(RESOLVED, GIVEN))) == RESOLVED


def test_every_default_is_marked_and_nothing_else() -> None:
    lines = list(plan.annotate(RESOLVED, GIVEN))
    marked = [line.split("#")[0].strip() for line in lines if line.endswith("# default")]
    assert marked == ["namespace: default", "metrics: []", "uri: ''", "total: 50", "resources: {}", "- 'yes'", "- '1'"]


def test_what_is_not_set_is_a_comment() -> None:
    lines = list(plan.annotate(NESTED, {}))
    assert lines == [
        "rounds:",
        "  total: 5  # default",
        "  # overSelection: from the return rate",
        "  stopWhen: {}  # default",
        "# image: not set",
    ]
    assert yaml.safe_load("\n".join(lines)) == {"rounds": {"total": 5, "stopWhen": {}}}


def test_an_item_is_compared_with_the_one_of_its_name() -> None:
    resolved = [{"name": "loss", "min": 0}, {"name": "accuracy", "min": 0}]
    lines = list(plan.annotate(resolved, [{"name": "accuracy", "min": 0}]))
    assert [line for line in lines if "default" in line] == ["- name: loss  # default", "  min: 0  # default"]


def test_a_value_given_as_zero_or_false_is_no_default() -> None:
    assert list(plan.annotate({"a": 0, "b": False}, {"a": 0, "b": False})) == ["a: 0", "b: false"]


def test_sizes_come_from_the_models_header(tmp_path: Path) -> None:
    file = tmp_path / "initial.safetensors"
    arrays: dict[str, np.ndarray] = {
        "w": np.zeros((64, 10), np.float32),
        "b": np.zeros(10, np.float64),
        "n": np.zeros(3, np.int32),
    }
    save_file(arrays, file)
    assert estimate.measure(file) == estimate.ModelSize(
        tensors=3, values=653, down=64 * 10 * 4 + 10 * 8 + 3 * 4, up=64 * 10 * 4 + 10 * 8 + 3 * 8
    )


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (2600, "2.6 kB"), (26_000_000, "26 MB"), (5e15, "5e+03 TB")]
)
def test_bytes(count: float, text: str) -> None:
    assert units.in_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "0.012 s"), (60, "60 s"), (600, "10 min"), (7200, "2 h"), (604800, "7 d"), (90000, "25 h")],
)
def test_seconds(seconds: float, text: str) -> None:
    assert units.in_seconds(seconds) == text
