"""What Slurm's commands print, read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.standing import PHASES, Phase

FIELD, RECORD = "\x1f", "\x1e"  # nobody types these into a name or a comment
# What is asked of squeue and of sacct, by what it is of a `BatchJob`. Of sacct nothing that 22.05 does not know: it
# refuses to answer at all when it is asked for such a field.
QUEUE_FIELDS = {
    "id": "JobID",
    "state": "State",
    "reason": "Reason",
    "exit": "exit_code",
    "restarts": "RestartCnt",
    "submitted": "SubmitTime",
    "started": "StartTime",
    "ended": "EndTime",
    "nodes": "NodeList",
    "name": "Name",
    "comment": "Comment",
}
HISTORY_FIELDS = {
    "id": "JobIDRaw",
    "state": "State",
    "reason": "Reason",
    "exit": "ExitCode",
    "submitted": "Submit",
    "started": "Start",
    "ended": "End",
    "nodes": "NodeList",
    "name": "JobName",
    "comment": "Comment",
}
QUEUE_FORMAT = f":{FIELD},".join(QUEUE_FIELDS.values()) + f":{RECORD}"
HISTORY_FORMAT = ",".join(HISTORY_FIELDS.values())
NOTHING = {"", "(null)", "N/A", "None", "Unknown", "None assigned"}
MOST_NODES = 4096


class NotUnderstood(ValueError):
    """A command printed something else than was asked for."""


def submitted(text: str) -> str:
    """The id that ``sbatch --parsable`` printed: ``12`` or, on several clusters, ``12;name``."""
    lines = text.split()
    if len(lines) != 1 or not (match := re.fullmatch(r"(\d+)(;\S+)?", lines[0])):
        raise NotUnderstood(f"sbatch printed {text[:200]!r}, which is not a job's id")
    return match[1]


def queue(text: str) -> list[BatchJob]:
    """What squeue printed in `QUEUE_FORMAT`."""
    *records, rest = text.split(RECORD)
    if rest.strip():
        raise NotUnderstood(f"squeue printed {rest[:200]!r}, which is not the end of a job")
    return [_job(_named(record.strip("\n").split(FIELD), QUEUE_FIELDS), wait_status) for record in records]


def history(text: str) -> list[BatchJob]:
    """What sacct printed in `HISTORY_FORMAT`, with `FIELD` between them."""
    lines = (line for line in text.splitlines() if line)
    return [_job(_named(line.split(FIELD), HISTORY_FIELDS), code_and_signal) for line in lines]


def wait_status(text: str) -> tuple[int | None, int | None]:
    """(exit code, signal) of a job of squeue, as ``wait`` gives them; later versions print them as sacct does."""
    if ":" in text:
        return code_and_signal(text)
    status = int(text)
    return status >> 8 & 0xFF, status & 0x7F


def code_and_signal(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    return (int(code), int(signal or 0)) if code else (None, None)


def nodes(text: str) -> tuple[str, ...]:
    """A list of hosts, written out: ``n[1-2,07],gpu`` has four."""
    found: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        names = [""]
        for literal, ranges in re.findall(r"([^\[]*)(?:\[([^\]]*)\])?", part):
            ends = _numbers(ranges) if ranges else [""]
            if len(names) * len(ends) > MOST_NODES:
                raise NotUnderstood(f"a list of more than {MOST_NODES} nodes")
            names = [name + literal + end for name in names for end in ends]
        found += names
    return tuple(found)


def _numbers(ranges: str) -> list[str]:
    found: list[str] = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        if not dash:
            found.append(part)
            continue
        if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) >= MOST_NODES:
            raise NotUnderstood(f"{part!r} is not a range of nodes")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found


def _named(fields: Sequence[str], names: Collection[str]) -> dict[str, str]:
    if len(fields) != len(names):
        raise NotUnderstood(f"a job of {len(fields)} fields instead of {len(names)}: {fields!r:.200}")
    return dict(zip(names, map(_text, fields), strict=True))


def _job(found: Mapping[str, str], exit_of: Callable[[str], tuple[int | None, int | None]]) -> BatchJob:
    try:
        word = found["state"].split()[0]  # "CANCELLED by 1000"
        over = PHASES.get(word) is Phase.ENDED or word == "COMPLETING"  # before, they are predictions
        exit_code, signal = exit_of(found["exit"]) if over else (None, None)
        return BatchJob(
            id=str(int(found["id"])),
            state=word,
            name=found["name"],
            comment=found["comment"],
            reason=found["reason"],
            nodes=nodes(found["nodes"]),
            submitted=_time(found["submitted"]),
            started=_time(found["started"]),
            ended=_time(found["ended"]) if over else None,
            exit_code=exit_code,
            signal=signal,
            restarts=int(found.get("restarts") or 0),
        )
    except (ValueError, IndexError) as error:
        raise NotUnderstood(f"a job that is not understood ({error}): {found!r:.200}") from error


def _text(field: str) -> str:
    field = field.strip()
    return "" if field in NOTHING else field


def _time(field: str) -> float | None:
    return float(field) if field else None
