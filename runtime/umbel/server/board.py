"""What may be seen of the job: status, history, metrics. Everything here has been released, or names nobody.

The one place that keeps the released rounds; state file, ``/status``, ``/metrics`` and ``history.jsonl`` are made from
it, so that they cannot disagree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from umbel.job import FederatedJob
from umbel.rounds.engine import Engine
from umbel.server.checkpoint import CheckpointInfo
from umbel.server.history import History
from umbel.server.logs import Log
from umbel.server.metrics import ServerMetrics
from umbel.server.records import RoundRecord
from umbel.server.traffic import Traffic

KEPT = 20  # rounds in status and state; history.jsonl has them all


class Board:
    def __init__(
        self, job: FederatedJob, uid: str, history: History, metrics: ServerMetrics, traffic: Traffic, log: Log
    ) -> None:
        self._job = job
        self._uid = uid
        self._history = history
        self._metrics = metrics
        self._traffic = traffic
        self._log = log
        self._rounds: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._totals = {"up": 0, "down": 0}
        self._model: dict[str, Any] = {}
        self._residences: list[float] = []
