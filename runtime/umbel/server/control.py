"""What the operator asks for, as events."""

from __future__ import annotations

from typing import Any

from umbel.rounds import events as ev
from umbel.server.board import Board
from umbel.server.conductor import Conductor
from umbel.server.logs import Log


class OperatorControl:
    """Implements `umbel.server.endpoints.Control`."""

    def __init__(self, conductor: Conductor, board: Board, log: Log) -> None:
        self._conductor = conductor
        self._board = board
        self._log = log

    def _edit(self, what: str, event: ev.Event) -> None:
        self._log("edited", what=what)
        self._conductor.feed(event)

    def status(self) -> dict[str, Any]:
        return self._board.status(self._conductor.view())

    def set_members(self, silos: frozenset[str]) -> None:
        self._edit("members", ev.MembersChanged(silos))

    def set_queued(self, silos: frozenset[str]) -> None:
        self._edit("queued", ev.QueuedChanged(silos))

    def set_total(self, total: int) -> None:
        self._edit("total", ev.TotalChanged(total))

    def set_cohort(self, updates: int, quorum: int) -> None:
        self._edit("silos", ev.CohortChanged(updates, quorum))

    def set_deadline(self, seconds: float) -> None:
        self._edit("activeDeadlineSeconds", ev.DeadlineChanged(seconds))

    def set_output(self, uri: str) -> None:
        """A server that starts reads it from its manifest. After the end of the rounds the copy is on its way."""
        if uri != self._board.output_uri and self._conductor.view().phase not in ("Complete", "Failed"):
            self._log("edited", what="output")
            self._board.output_uri = uri

    def suspend(self) -> None:
        self._edit("suspend", ev.Suspended())

    def resume(self) -> None:
        self._edit("resume", ev.Resumed())

    def cancel(self, message: str) -> None:
        self._edit("cancel", ev.CannotContinue("Cancelled", message))
