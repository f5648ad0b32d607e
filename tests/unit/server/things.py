"""A job, rounds, a view and a board to try things on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from umbel import job as manifest
from umbel.job import FederatedJob
from umbel.rounds.actions import RoundOutcomes
from umbel.rounds.view import View
from umbel.server.board import Board
from umbel.server.history import History
from umbel.server.logs import Log
from umbel.server.metrics import ServerMetrics
from umbel.server.records import RoundRecord
from umbel.server.traffic import Traffic

SILOS = ("hospital-a", "hospital-b", "hospital-c")


def job(**model: Any) -> FederatedJob:
    return manifest.resolve(
        manifest.parse(
            {
                "apiVersion": "umbel.dev/v1alpha1",
                "kind": "FederatedJob",
                "metadata": {"name": "trial", "namespace": "oncology"},
                "spec": {
                    "app": {"client": "app:app"},
                    "model": model,
                    "metrics": [{"name": "accuracy", "min": 0, "max": 1}],
                    "silos": [{"name": name, "dataset": "ct"} for name in SILOS],
                },
            }
        )
    )


def record(round: int = 1, **changes: Any) -> RoundRecord:
    """A committed round in which every count is another number."""
    made = RoundRecord(round, 2, 1000.0 + round)
    made.seconds = {"gather": 1.0, "train": 2.0, "close": 0.5, "checkpoint": 0.25, "evaluate": 3.0, "release": 0.125}
    made.outcome = "Committed"
    made.counts = RoundOutcomes(31, 11, 7, 5, {"OUT_OF_RANGE": 3, "WRONG_DIGEST": 2}, 1, 2)
    made.train = {"loss": 0.75}
    made.evaluate = {"loss": 0.5, "accuracy": 0.875}
    made.examples, made.update_norm = 1432, 0.625
    made.withheld = {"below_min_cohort": 4}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def traffic() -> Traffic:
    """What a round may move over the wire."""
    moved = Traffic(up=9000, down=18000)
    moved.requests["GetModel", "OK"] = 31
    moved.requests["PutUpdate", "PERMISSION_DENIED"] = 1
    moved.joins["accepted"] = 13
    moved.residences.extend([0.2, 0.3])
    return moved


def view(phase: str = "Training", **changes: Any) -> View:
    values: dict[str, Any] = {
        "phase": phase,
        "round": 4,
        "attempt": 1,
        "total": 50,
        "invited": 3,
        "connected": 2,
        "members": 3,
        "seconds_left": 12.34 if phase == "Training" else None,
        "reason": "RoundOpen",
        "message": "",
    }
    return View(**{**values, **changes})


class Desk:
    """A board with everything round it."""

    def __init__(self, directory: Path, kept: dict[str, Any] | None = None, **model: Any) -> None:
        self.log = io.StringIO()
        self.history = directory / "history.jsonl"
        self.metrics = ServerMetrics("oncology", "trial", ["accuracy"])
        self.traffic = Traffic()
        state = kept or {}
        self.board = Board(
            job(**model),
            "uid-1",
            3,
            history=History(self.history, state.get("rounds", [])),
            metrics=self.metrics,
            traffic=self.traffic,
            log=Log(self.log),
            kept=state,
        )
