"""The log of agent and operator: one JSON object a line, with fields of a closed list. What a user's code prints is
never among them, and neither are tokens, keys or certificates."""

from __future__ import annotations

import datetime
import json
import logging
import sys

FIELDS = frozenset(
    (
        "client",
        "job",
        "namespace",
        "kind",
        "name",
        "reason",
        "status",
        "error",
        "seconds",
        "silo",
        "version",
        "address",
        "state",
    )
)
ERROR_CHARACTERS = 500

logger = logging.getLogger("umbel.operator")


class JsonLines(logging.Formatter):
    """Lines of other libraries come with their logger's name, without their tracebacks' values."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != logger.name:
            line["logger"] = record.name
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)  # ASCII: what a hub says moves no cursor, and breaks no line


def set_up() -> None:
    """To standard error, for the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def info(event: str, **fields: object) -> None:
    _log(logging.INFO, event, fields)


def warning(event: str, **fields: object) -> None:
    _log(logging.WARNING, event, fields)


def error(event: str, *, trace: bool = False, **fields: object) -> None:
    """``trace``: a fault of the program, within an except clause."""
    _log(logging.ERROR, event, fields, trace=trace)


def _log(level: int, event: str, fields: dict[str, object], *, trace: bool = False) -> None:
    unknown = fields.keys() - FIELDS
    if unknown:
        raise ValueError(f"no field of the log: {', '.join(sorted(unknown))}")
    kept = {k: v[:ERROR_CHARACTERS] if isinstance(v, str) else v for k, v in fields.items() if v is not None}
    logger.log(level, event, extra={"fields": kept}, exc_info=trace)
