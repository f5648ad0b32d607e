"""One Slurm job: its script and its options. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from umbel_operator.agent.allocation import Allocation, allocation
from umbel_operator.agent.backends.local import command
from umbel_operator.agent.backends.local.directory import LOG, STATE, TOKEN
from umbel_operator.agent.backends.slurm import container
from umbel_operator.agent.backends.slurm.routes import relayed
from umbel_operator.agent.batch.options import MINUTE, Options
from umbel_operator.agent.federatedclient import FederatedClient, Server
from umbel_operator.agent.site import Site, Slurm

MIB = 1 << 20
OTHER_TOKEN_EXIT = 75


@dataclass(frozen=True, slots=True)
class Request:
    """``script`` without the token, which comes with an attempt. ``relay``: HOST:PORT by which the client reaches the
    server; "": it has a route."""

    client: FederatedClient
    site: Site
    slurm: Slurm
    server: Server
    folder: Path
    surroundings: Mapping[str, str]
    relay: str = ""

    def script(self, token: str) -> str:
        """A job that starts when another is wanted by now ends at once. The client is srun's, not the shell's: so it
        hears of the time limit, of a preemption and of scancel. What a task gets srun has to be told once more: of a
        job's processors it gives one to each otherwise, since 22.05."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self._environment().items()]
        wanted = shlex.quote(str(self.folder / TOKEN))
        lines = [
            "#!/bin/sh",
            *exports,
            f'[ "$(cat {wanted})" = {shlex.quote(token)} ] || exit {OTHER_TOKEN_EXIT}',
            f"exec {shlex.join([*self._srun(), *self._command(token)])}",
        ]
        return "\n".join(lines) + "\n"

    def options(self, name: str, comment: str, left: float | None = None) -> Options:
        """``left``: seconds that the client may still run by the silo's policy; Slurm gives no less than a minute."""
        wanted, slurm = self._allocation, self.slurm
        time = slurm.time_limit_seconds if left is None else min(slurm.time_limit_seconds, math.ceil(max(left, MINUTE)))
        named = {"partition": slurm.partition, "account": slurm.account, "qos": slurm.qos}
        return Options(
            name=name,
            folder=self.folder / STATE,
            output=self.folder / LOG,
            time_seconds=time,
            comment=comment,
            term_seconds=slurm.term_seconds,
            tasks=wanted.tasks,
            nodes=wanted.nodes,
            cpus_per_task=wanted.cpus_per_task,
            memory_mib=max(1, math.ceil(wanted.memory / MIB)) if wanted.memory is not None else None,  # 0: all there is
            gpus_per_task=wanted.gpus_per_task,
            site={**slurm.options, **{key: value for key, value in named.items() if value is not None}},
        )

    def digest(self) -> str:
        """Of all but the token and the agent's own surroundings, which change with its shell."""
        plain = Request(self.client, self.site, self.slurm, self.server, self.folder, {}, self.relay)
        return command.digest(plain.script(""), plain.options("x", "").arguments())

    @property
    def _allocation(self) -> Allocation:
        return allocation(self.client, self.site.pods)

    def _srun(self) -> list[str]:
        wanted = self._allocation
        return ["srun", "--export=ALL", f"--ntasks={wanted.tasks}", f"--cpus-per-task={wanted.cpus_per_task}"]

    def _environment(self) -> dict[str, str]:
        given = self.slurm.environment
        plain = command.environment(self.client, self.site, given, self.surroundings)
        return plain if self.slurm.container is None else container.surroundings(plain, given)

    def _command(self, token: str) -> list[str]:
        slurm, path = self.slurm, self.site.datasets[self.client.dataset].path
        data = path if slurm.container is None or path is None else container.DATA
        grace = slurm.term_seconds
        server = relayed(self.server, self.relay) if self.relay else self.server
        words = command.arguments(self.client, self.site, server, self.folder, data, slurm.app_path, grace)
        words += command.fence(self.folder, token)
        words += [f"--rank-host={slurm.rank_host}"] if slurm.rank_host is not None else []
        if slurm.container is not None:
            return container.command(slurm, self.client.image, self.folder, path, words)
        return [*command.python(slurm.python or ""), *words]
