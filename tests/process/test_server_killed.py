"""kill -9 of the server, wherever it is in a round: what was committed stays, what was released is not said again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from .harness import Run, manifest, wait_for

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3")
QUICK = {"UMBEL_TEST_PAUSE": "0.1"}


def kill(server: psutil.Process) -> None:
    server.kill()
    wait_for(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server to be dead")


def histories(run: Run) -> list[list[dict[str, Any]]]:
    """What every server found when it started, and what is there in the end."""
    kept = sorted(run.control.folder.glob("history-*.jsonl"))
    found = [[json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] for path in kept]
    return [*found, run.history()]


def assert_nothing_lost_or_said_twice(run: Run, rounds: int) -> None:
    assert run.committed() == list(range(1, rounds + 1))
    for record in run.history():  # what training brought is in the checkpoint, and outlives its server
        if record["outcome"] == "Committed":
            assert record["full"] == 3
            assert record["train"]["loss"] == pytest.approx(1 / record["round"])
            assert record["evaluate"]["loss"] == pytest.approx(1 / (1 + record["round"]))
    released: dict[tuple[str, str, int], set[float]] = {}
    for history in histories(run):
        assert history == run.history()[: len(history)], "what had been released has changed"
        for record in history:
            for phase in ("train", "evaluate"):
                for name, value in record[phase].items():
                    released.setdefault((phase, name, record["round"]), set()).add(value)
    assert released
    assert all(len(values) == 1 for values in released.values()), released


@pytest.mark.parametrize(
    "points",
    [
        ("before-checkpoint", "after-checkpoint", "before-evaluated"),
        ("before-recorded", "before-published", "after-published"),
    ],
    ids=["closing", "releasing"],
)
def test_killed_while_a_round_is_closed(run: Run, points: tuple[str, ...]) -> None:
    """A kill in every round but the last, each at another point."""
    rounds = len(points) + 1
    kills = {"UMBEL_TEST_KILL": " ".join(f"{point}:{n}" for n, point in enumerate(points, 1))}
    run.start(manifest(rounds={"total": rounds, "timeoutSeconds": 120}), launcher=QUICK | kills).complete()
    struck = {path.name for path in run.control.folder.glob("killed-*")}
    assert struck == {f"killed-{point}-{n}" for n, point in enumerate(points, 1)}
    assert run.endpoints["epoch"] == 1 + len(points)
    assert_nothing_lost_or_said_twice(run, rounds)


def in_training(run: Run) -> None:
    run.released(1)
    run.control.await_all(SILOS, "fit", 2)


def in_evaluation(run: Run) -> None:
    run.control.await_all(SILOS, "evaluate", 2)


@pytest.mark.parametrize(("place", "there"), [("fit", in_training), ("evaluate", in_evaluation)])
def test_killed_while_clients_are_at_work(run: Run, place: str, there: Callable[[Run], None]) -> None:
    run.control.order(f"{place}.2", "hold")
    run.start(manifest(), launcher=QUICK)
    there(run)
    server = run.server()
    before = run.committed()
    kill(server)
    run.server(not_pid=server.pid)
    run.control.end(f"{place}.2")
    run.complete()
    assert before == [1]
    assert_nothing_lost_or_said_twice(run, 3)
    assert run.history()[1]["attempt"] == (2 if place == "fit" else 1), "only an open round is opened again"
