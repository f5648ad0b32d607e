"""What is asked for with a job, as arguments of `sbatch`. What is not on the list is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What a site may add for all its clients. None of these takes a job out of the agent's hands (as job-name, comment,
# requeue, dependency, array, signal, output or uid would) or runs something besides the agent's script (as wrap or
# prolog would).
SITE_OPTIONS = frozenset(
    {
        "account",
        "constraint",
        "exclude",
        "exclusive",
        "gres",
        "hint",
        "licenses",
        "mincpus",
        "nice",
        "nodelist",
        "ntasks-per-node",
        "oversubscribe",
        "partition",
        "qos",
        "reservation",
        "switches",
        "tmp",
    }
)
# sbatch takes none of these beside what the agent asks for with every job.
CLASHES = {
    "cpus-per-gpu": "--cpus-per-task: give pods.defaults.limits.cpu",
    "mem-per-cpu": "--mem: give pods.defaults.limits.memory, of a node",
    "mem-per-gpu": "--mem: give pods.defaults.limits.memory, of a node",
}
FLAGS = frozenset({"exclusive", "nice", "oversubscribe"})  # stand without a value too
VALUE = re.compile(r"[A-Za-z0-9_.,:;+*/@&|=\[\]()<>!-]{0,256}\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
COMMENT = re.compile(r"[A-Za-z0-9 ._:/=,@+-]{0,512}\Z")
MINUTE = 60


@dataclass(frozen=True, slots=True)
class Options:
    """One job's wishes.

    ``name`` tells this attempt from every other one; by it a job is found whose submission was cut short. ``comment``
    marks whose it is. ``folder`` and ``output`` are seen by every node. TERM comes ``term_seconds`` before the time
    limit, as coarsely as the scheduler keeps time. ``memory_mib``: of one node. ``site``: the site file's own, without
    their dashes.
    """

    name: str
    folder: Path
    output: Path
    time_seconds: int
    comment: str = ""
    term_seconds: int = 180
    tasks: int = 1
    nodes: int | None = None
    cpus_per_task: int = 1
    memory_mib: int | None = None
    gpus_per_task: int = 0
    site: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """For `sbatch`. Raises ValueError for what must not be passed on."""
        if not NAME.match(self.name):
            raise ValueError(f"{self.name!r} is no name for a job: letters, digits, '.', '_' and '-'")
        if not COMMENT.match(self.comment):
            raise ValueError(f"{self.comment!r} is no comment for a job: letters, digits, blanks and ._:/=,@+-")
        for name, value in self.site.items():
            if (fault := site_fault(name, value)) is not None:
                raise ValueError(f"{name}: {fault}")
        return list(self._arguments())

    def _arguments(self) -> Iterator[str]:
        yield f"--job-name={self.name}"
        yield f"--comment={self.comment}"
        yield f"--chdir={self.folder}"
        yield f"--output={str(self.output).replace('%', '%%')}"
        yield "--open-mode=append"
        yield "--no-requeue"
        # All that sbatch itself is given, which is little. With anything less, Slurm 22.05 also with NIL, the node runs
        # a login shell of the user's for its environment, and fails itself when that does not end in time.
        yield "--export=ALL"
        yield f"--time={-(-self.time_seconds // MINUTE)}"
        yield f"--signal=TERM@{self.term_seconds}"
        yield f"--ntasks={self.tasks}"
        if self.nodes is not None:
            yield f"--nodes={self.nodes}"
        yield f"--cpus-per-task={self.cpus_per_task}"
        if self.memory_mib is not None:
            yield f"--mem={self.memory_mib}M"
        if self.gpus_per_task:
            yield f"--gpus-per-task={self.gpus_per_task}"
        for name, value in sorted(self.site.items()):
            yield f"--{name}={value}" if value else f"--{name}"


def site_fault(name: str, value: str) -> str | None:
    """What is wrong with one option of the site file, in words; None: nothing."""
    if name in CLASHES:
        return f"is not taken by sbatch beside {CLASHES[name]}"
    if name not in SITE_OPTIONS:
        return f"is not an option that a site may set; these are: {', '.join(sorted(SITE_OPTIONS))}"
    if not value and name not in FLAGS:
        return "has no value; write it as sbatch takes it"
    if not VALUE.match(value):
        return f"{value!r} has characters that no such option needs; write it as sbatch takes it, without blanks"
    return None
