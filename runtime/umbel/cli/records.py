"""One released round, as a server wrote it to ``history.jsonl`` and tells it in ``/status``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umbel.cli.errors import CliError

PHASES = ("gather", "train", "close", "checkpoint", "evaluate", "release")
OUTCOMES = ("full", "partial", "declined", "rejected", "timedOut", "lost")


@dataclass(frozen=True, slots=True)
class Record:
    """``seconds`` by phase, ``counts`` of members by outcome, released metrics of each phase; what was withheld is
    absent."""

    round: int
    attempt: int
    committed: bool
    reason: str = ""
    started: float = 0.0
    invited: int = 0
    examples: int | None = None
    update_norm: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    train: Mapping[str, float] = field(default_factory=dict)
    evaluate: Mapping[str, float] = field(default_factory=dict)


def parse(data: Mapping[str, Any]) -> Record:
    """Raises KeyError, TypeError or ValueError for what is not a record; absent numbers count as nothing."""
    examples, norm = data.get("examples"), data.get("updateNorm")
    return Record(
        round=int(data["round"]),
        attempt=int(data.get("attempt", 1)),
        committed=data.get("outcome", "Committed") == "Committed",
        reason=str(data.get("reason") or ""),
        started=float(data.get("started") or 0.0),
        invited=int(data.get("invited") or 0),
        examples=None if examples is None else int(examples),
        update_norm=None if norm is None else float(norm),
        bytes_up=int(data.get("bytesUp") or 0),
        bytes_down=int(data.get("bytesDown") or 0),
        seconds={p: float((data.get("seconds") or {}).get(p) or 0.0) for p in PHASES},
        counts={o: _count(data.get(o)) for o in OUTCOMES},
        train=_finite(data.get("train")),
        evaluate=_finite(data.get("evaluate")),
    )


def read(path: Path) -> list[Record]:
    """All rounds of a ``history.jsonl``, in order. A last line that a crash cut short is left out; a round that was
    released twice, because a crash came between, counts once. Raises CliError when the file is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: dict[tuple[int, int], Record] = {}
    for number, line in enumerate(lines, 1):
        try:
            record = parse(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            raise CliError(f"{path}, line {number}: not a round's record") from error
        found[record.round, record.attempt] = record
    return [found[key] for key in sorted(found)]


def metric_names(records: Iterable[Record]) -> list[str]:
    """``loss`` first, then the others as they came."""
    names = dict.fromkeys(name for r in records for name in (*r.train, *r.evaluate))
    return sorted(names, key=lambda name: name != "loss")


def _count(value: Any) -> int:
    """A number of members, or the sum of numbers by reason."""
    return sum(int(n) for n in value.values()) if isinstance(value, Mapping) else int(value or 0)


def _finite(values: Mapping[str, Any] | None) -> dict[str, float]:
    numbers = {str(name): float(value) for name, value in (values or {}).items() if value is not None}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
