"""A client in the job's image, by Apptainer. Pure.

`--containall` lets nothing of the surroundings in but what is called APPTAINERENV_<name>. What is the same for every
rank is exported so by the batch script; what srun tells each rank apart from the others by, at the rank itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from umbel_operator.agent.backends.local.directory import TLS
from umbel_operator.agent.site import Slurm

DATA = "/data"
INSIDE = "APPTAINERENV_"
RANK = (
    *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
    *("SLURM_RESTART_COUNT", "SLURMD_NODENAME"),
)
DEVICES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
# Its words after the first are the command, which takes its place and so gets the signals. The names need no quotes.
ENTER = (
    f"for name in {' '.join((*RANK, *DEVICES))}; do "
    f'eval "[ -z \\"\\${{$name+x}}\\" ] || export {INSIDE}$name=\\"\\$$name\\""; done; exec "$@"'
)


def surroundings(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """``environment`` of a client without a container, with what Apptainer lets in of it: not where programs and homes
    lie on the host, unless ``given`` by the site file."""
    host = {"PATH", "HOME", "LANG"} - given.keys()
    return {**environment, **{f"{INSIDE}{name}": value for name, value in environment.items() if name not in host}}


def command(slurm: Slurm, image: str, folder: Path, data: str | None, words: list[str]) -> list[str]:
    """Of the host's files it sees the client's folder, the jobs' modules and the data. ``words``: of ``umbel``."""
    container = slurm.container
    assert container is not None
    return [
        *("/bin/sh", "-c", ENTER, "sh"),
        *(container.program, "exec", "--containall", "--no-home"),
        *(f"--bind={bind}" for bind in _binds(slurm, folder, data)),
        *container.options,
        container.images.get(image, f"docker://{image}"),
        *("umbel", *words),
    ]


def _binds(slurm: Slurm, folder: Path, data: str | None) -> Iterator[str]:
    yield f"{folder}:{folder}"
    yield f"{folder / TLS}:{folder / TLS}:ro"
    if data is not None:
        yield f"{data}:{DATA}:ro"
    for path in slurm.app_path:
        yield f"{path}:{path}:ro"
