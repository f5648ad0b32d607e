"""What may be seen of the job: status, history, metrics. Everything here has been released, or names nobody.

The one place that keeps the released rounds; state file, ``/status``, ``/metrics`` and ``history.jsonl`` are made from
it, so that they cannot disagree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from umbel.job import FederatedJob
from umbel.rounds.reasons import RELEASING
from umbel.rounds.view import View
from umbel.server.checkpoint import FULL, CheckpointInfo
from umbel.server.history import History
from umbel.server.logs import Log
from umbel.server.metric_names import PHASES
from umbel.server.metrics import ServerMetrics
from umbel.server.records import RoundRecord
from umbel.server.tracing import NoTraces, Traces
from umbel.server.traffic import Traffic

KEPT = 20  # rounds in status and state; history.jsonl has them all
TERMINAL = ("Complete", "Failed")
OPEN = ("Training", "Closing", "Evaluating", "Releasing")


@dataclass(frozen=True, slots=True)
class Released:
    """The last rounds, bytes by direction, and the latest values by phase: what has been released up to one round."""

    rounds: tuple[dict[str, Any], ...] = ()
    bytes: Mapping[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    latest: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: {"train": {}, "evaluate": {}})

    def after(self, record: RoundRecord) -> Released:
        values = {"train": dict(record.train), "evaluate": dict(record.evaluate)}
        return Released(
            (*self.rounds, record.to_json())[-KEPT:],
            {"up": self.bytes["up"] + record.bytes_up, "down": self.bytes["down"] + record.bytes_down},
            {phase: values[phase] or self.latest[phase] for phase in values},
        )

    def to_json(self) -> dict[str, Any]:
        return {"rounds": list(self.rounds), "bytes": self.bytes, "latest": self.latest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Released:
        """``{}`` is the beginning of a job."""
        return cls(tuple(data["rounds"]), data["bytes"], data["latest"]) if data else cls()


class Board:
    """``kept``: the ``board`` part of the state that an earlier process left."""

    def __init__(
        self,
        job: FederatedJob,
        uid: str,
        epoch: int,
        *,
        history: History,
        metrics: ServerMetrics,
        traffic: Traffic,
        log: Log,
        kept: Mapping[str, Any],
        traces: Traces | None = None,
    ) -> None:
        self.ended_was_read = asyncio.Event()
        self._timeouts = (job.spec.rounds.timeout_seconds, _evaluation_seconds(job))
        self._due = 0.0  # Unix time of the deadline set last
        self._identity = {"job": job.metadata.name, "namespace": job.metadata.namespace, "uid": uid, "epoch": epoch}
        self._history = history
        self._metrics = metrics
        self._traffic = traffic
        self._log = log
        self._traces = traces or NoTraces()
        self._shown = Released.from_json(kept)
        self._stored = self._shown  # for the state file, which is written before a round is shown
        self._model: dict[str, Any] = {}
        self.output_uri = job.spec.model.output.uri
        self._output: dict[str, Any] = {}  # empty until it is known what became of the copy, or when none is wanted
        self._between = Traffic()  # published between rounds, and still to be counted to a round

    # ---- checkpoint and state

    def state(self, engine: Mapping[str, Any], pending: RoundRecord | None) -> dict[str, Any]:
        """What the state file holds besides the model."""
        return {
            "engine": dict(engine),
            "board": self._stored.to_json(),
            "pending": pending.to_json() if pending else None,
        }

    def checkpointed(self, info: CheckpointInfo) -> None:
        self._model = {"round": info.round, "digest": f"sha256:{info.digest}", "path": str(info.path)}
        self._metrics.set("fl_checkpoint_last_success_timestamp_seconds", info.written)

    def checkpoint_failed(self, reason: str) -> None:
        self._metrics.add("fl_checkpoint_failures_total", 1, reason=reason)
        self._log("checkpoint_failed", reason=reason)

    @property
    def model_path(self) -> Path:
        return Path(self._model["path"])

    def output_written(self) -> None:
        self._output = {"written": True, "message": ""}
        self._log("output_written")

    def output_failed(self, message: str) -> None:
        self._output = {"written": False, "message": message}
        self._log("output_failed", reason=message)

    # ---- within a round

    def training_opened(self) -> None:
        self._due = time.time() + self._timeouts[0]

    def evaluation_opened(self) -> None:
        self._due = time.time() + self._timeouts[1]

    # ---- release

    def add(self, record: RoundRecord, traffic: Traffic) -> None:
        """Take the round up into what the state file will hold; nobody sees it before `publish`."""
        record.bytes_up, record.bytes_down = traffic.up + self._between.up, traffic.down + self._between.down
        self._between = Traffic()
        self._stored = self._shown.after(record)

    def publish(self, record: RoundRecord, traffic: Traffic, buffered_bytes: int) -> None:
        """The one step in which a round becomes visible."""
        self._shown = self._stored = self._shown.after(record)
        try:
            self._history.append(record.to_json())
        except OSError as error:
            self.checkpoint_failed("disk_full" if error.errno in FULL else "io_error")
        self._metrics.publish_round(record, traffic.residences)
        self._metrics.publish_traffic(traffic, buffered_bytes)
        self._traces.released(record)
        fields: dict[str, Any] = {"reason": record.reason} if record.reason else {}
        seconds = round(sum(record.seconds.values()), 3)
        self._log(
            "round", round=record.round, attempt=record.attempt, outcome=record.outcome, seconds=seconds, **fields
        )

    def withdraw(self, record: RoundRecord) -> None:
        """The state file could not take the round's values: a later process could release them again, so this one does
        not."""
        record.withhold({"not_recorded": len(record.train) + len(record.evaluate)})
        record.train, record.evaluate, record.examples, record.update_norm = {}, {}, None, None
        self._stored = self._shown.after(record)
        self._log("release_withheld", round=record.round)

    def flush(self, buffered_bytes: int) -> None:
        """Publish what passed the wire between rounds."""
        taken = self._traffic.take()
        self._between.up += taken.up
        self._between.down += taken.down
        self._metrics.publish_traffic(taken, buffered_bytes)

    # ---- reading

    def status(self, view: View) -> dict[str, Any]:
        """The JSON of ``/status``. Counts of a round's answers are not in it before the round is released."""
        view = self._as_told(view)
        if view.phase in TERMINAL:
            self.ended_was_read.set()
        left = view.seconds_left
        return {
            **self._identity,
            "phase": view.phase,
            "reason": view.reason,
            "message": view.message,
            "round": view.round,
            "attempt": view.attempt,
            "total": view.total,
            "members": view.members,
            "connected": view.connected,
            "invited": view.invited,
            "secondsToDeadline": None if left is None else round(left, 1),
            "metrics": self._shown.latest,
            "history": list(self._shown.rounds),
            "model": self._model,
            "output": self._output,
            "bytes": self._shown.bytes,
        }

    def _as_told(self, view: View) -> View:
        """The job is Complete when the copy of its model is written or has failed: who reads the one, reads both."""
        copying = view.phase == "Complete" and self.output_uri and not self._output
        return replace(view, phase="Releasing", reason=RELEASING, message="") if copying else view

    def exposition(self, view: View, silos_expire: float | None = None, server_expires: float | None = None) -> bytes:
        """The text of ``/metrics``. ``silos_expire``: when the first of the connected silos' certificates ends, Unix
        time, None without one; ``server_expires``: the server's own."""
        view = self._as_told(view)
        self._metrics.set("fl_silo_certificate_earliest_expiry_timestamp_seconds", silos_expire)
        self._metrics.set("fl_server_certificate_expiry_timestamp_seconds", server_expires)
        for phase in PHASES:
            self._metrics.set("fl_job_status_phase", float(phase == view.phase), phase=phase)
        self._metrics.set("fl_job_round", self._model.get("round", 0))
        self._metrics.set("fl_job_rounds_target", view.total)
        self._metrics.set("fl_silos", view.connected, state="connected")
        self._metrics.set("fl_silos", max(0, view.members - view.connected), state="absent")
        self._metrics.set("fl_job_round_timeout_seconds", sum(self._timeouts))
        # A step that hangs keeps its deadline: that it has passed is what tells.
        self._metrics.set("fl_round_deadline_timestamp_seconds", self._due if view.phase in OPEN else 0.0)
        return self._metrics.text()


def _evaluation_seconds(job: FederatedJob) -> float:
    evaluation = job.spec.evaluation
    return evaluation.timeout_seconds if evaluation.every_rounds else 0.0
