"""The silo's own record of what was decided and why: JSON lines that only ever grow, and stay in the silo."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from umbel_operator import logs
from umbel_operator.agent.approvals.decision import Answer
from umbel_operator.agent.approvals.request import Request
from umbel_operator.agent.policy import Decision


class Audit:
    """``write``: one line, for good. A decision is recorded when it is another than the last of its client."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last: dict[str, tuple[str, Decision]] = {}

    @classmethod
    def to(cls, path: Path | None) -> Audit:
        """None: to standard error, among the log's lines. Raises OSError for a file that cannot be appended to."""
        if path is None:
            return cls(lambda line: print(line, file=sys.stderr, flush=True))
        _append(path, "")
        return cls(lambda line: _kept(path, line + "\n"))

    def decided(self, request: Request, decision: Decision, answer: Answer | None) -> None:
        entry = {**asdict(request), "fingerprint": request.fingerprint}
        if answer is not None:
            entry["answer"] = asdict(answer)
        self._unless_known(request.fingerprint, decision, entry)

    def not_understood(self, name: str, decision: Decision) -> None:
        """What it asks for cannot be said."""
        self._unless_known("", decision, {"name": name})

    def _unless_known(self, what: str, decision: Decision, entry: dict[str, Any]) -> None:
        said = what, decision
        if self._last.get(entry["name"]) == said:
            return
        self._last[entry["name"]] = said
        event = "allowed" if decision.allowed else "refused"
        self._record({"event": event, "reason": decision.reason, "detail": decision.detail, **entry})

    def gone(self, name: str) -> None:
        if self._last.pop(name, None) is not None:
            self._record({"event": "gone", "name": name})

    def _record(self, entry: dict[str, Any]) -> None:
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(json.dumps({"time": moment, "audit": entry.pop("event"), **entry}))


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(target, text.encode())
    finally:
        os.close(target)


def _kept(path: Path, text: str) -> None:
    """A full disk stops no job, and is said."""
    try:
        _append(path, text)
    except OSError as error:
        logs.error("the audit log cannot be written", error=str(error))
