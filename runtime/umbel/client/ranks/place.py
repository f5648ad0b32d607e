"""Which rank this process is, as Slurm says it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_RANKS = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """``local``: rank among those of the same node. ``attempt``: tells this start of the ranks from every other."""

    rank: int = 0
    size: int = 1
    local: int = 0
    attempt: str = ""
    node: str = ""


ALONE = Place()


def place(environment: Mapping[str, str]) -> Place:
    """Of a process that `srun` has started with several tasks; ALONE for every other one.

    Raises ValueError for what cannot be. A batch script has SLURM_PROCID too, but is no task of a step.
    """
    if "SLURM_STEP_NUM_TASKS" not in environment or "SLURM_PROCID" not in environment:
        return ALONE
    size, rank = _number(environment, "SLURM_STEP_NUM_TASKS"), _number(environment, "SLURM_PROCID")
    if size <= 1:
        return ALONE
    if size > MOST_RANKS or rank >= size:
        raise ValueError(f"SLURM_PROCID is {rank} of SLURM_STEP_NUM_TASKS {size}; at most {MOST_RANKS} tasks are meant")
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    attempt = ".".join(str(_number(environment, name)) for name in names)
    return Place(rank, size, _number(environment, "SLURM_LOCALID"), attempt, environment.get("SLURMD_NODENAME", ""))


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 11):
        raise ValueError(f"{name} is {text[:40]!r}, which is not a number; start the client with srun")
    return int(text)
