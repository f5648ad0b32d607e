"""A real Prometheus scrapes a real operator and a real server through a whole job: every panel of both pages has data,
what ought to move, moves, and what goes wrong on the way fires the alert for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from umbel_monitoring import alerts

from .course import Scene, played
from .pages import ENDS, FILES, Asked, queries, read, substituted, values_of_variables, without_clock

pytestmark = pytest.mark.api

VARIABLES = {"namespace": "default", "job": "steered", "__rate_interval": "15s"}
ALL = [query for path in FILES for query in queries(read(path))]
# What moves only in a fault that cannot be had without breaking the server, or faster than a machine is.
STILL = {"Updates held", "Checkpoints not written", "How long an update is held"}
MOVING = [query for query in ALL if query.panel not in STILL and query.said not in ENDS]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with played(tmp_path_factory.mktemp("monitoring")) as scene:
        yield scene


@pytest.mark.parametrize("query", ALL, ids=str)
def test_a_panel_has_data(scene: Scene, query: Asked) -> None:
    expr = substituted(query.expr, **VARIABLES)
    if query.instant:
        assert scene.prometheus.instant(expr, scene.middle)
    assert any(points for _, points in scene.prometheus.over(expr, scene.start, scene.end))


@pytest.mark.parametrize("query", MOVING, ids=str)
def test_what_ought_to_move_moves(scene: Scene, query: Asked) -> None:
    assert scene.prometheus.moves(without_clock(substituted(query.expr, **VARIABLES)), scene.start, scene.end)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_variable_offers_the_job(scene: Scene, path: Path) -> None:
    wanted = {"namespace": "default", "job": "steered"}
    offered = {}
    for name, selector, label in values_of_variables(read(path)):
        asked = {"match[]": substituted(selector, **VARIABLES), "start": scene.start, "end": scene.end}
        offered[name] = {series[label] for series in scene.prometheus.ask("series", **asked)}
    assert offered.keys() == wanted.keys()
    for name, value in wanted.items():
        assert value in offered[name]


def test_every_fault_fired_its_alert(scene: Scene) -> None:
    known = {alert.name for group in alerts.GROUPS for alert in group.alerts}
    assert set(scene.fired) == known


@pytest.mark.parametrize("process", ["operator", "server"])
def test_promtool_finds_no_fault_in_what_a_process_says(scene: Scene, process: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scene.texts[process], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
