"""A real server on loopback, with certificates, and the command line of a client of its job."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from process.harness import Processes, wait_for

from umbel.wire import pki

SILO = "site"
DOMAIN = "example.org"
ALONE = {"privacy": {"minCohort": 1, "minExamples": 1, "allowSmallCohort": True}}  # of a job with a single silo


class Federation:
    """``job``: a manifest, of which the site is the only silo. ``paths``: folders of its client's modules."""

    def __init__(self, processes: Processes, folder: Path, job: Mapping[str, Any], *paths: Path) -> None:
        self.folder, self.job = folder, job
        self._paths = [word for path in paths for word in ("--path", str(path))]
        self.authority = pki.Authority.create(folder / "ca")
        self.name = pki.server_name(job["metadata"]["name"], "default")
        self._start(processes)

    def _start(self, processes: Processes) -> None:
        folder, job = self.folder, self.job
        (folder / "job.yaml").write_text(yaml.safe_dump(dict(job)))
        identity = pki.server_id(DOMAIN, "default", job["metadata"]["name"])
        self.authority.issue(folder / "server-tls", identity, [self.name])
        endpoints = folder / "endpoints.json"
        self.server = processes.start(
            [
                *("server", "--job", folder / "job.yaml", "--state", folder / "server", "--uid", "on-slurm"),
                *("--tls", folder / "server-tls", "--trust-domain", DOMAIN, "--endpoints", endpoints),
                *("--listen", "grpcs://127.0.0.1:0", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0"),
                *self._paths,
            ],
            output=folder / "server.log",
        )
        wait_for(lambda: endpoints.exists() or self.server.poll() is not None, "the server to be ready", 120)
        assert self.server.poll() is None, (folder / "server.log").read_text()
        self.address = json.loads(endpoints.read_text())["federation"]

    def client(self, *options: str | Path, state: str = "state", **environment: str | Path) -> list[str]:
        self.authority.issue(self.folder / "tls", pki.silo_id(DOMAIN, SILO))
        silo = self.job["spec"]["silos"][0]
        variables = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment}
        return [
            "env",
            *(f"{name}={value}" for name, value in variables.items()),
            *(sys.executable, "-m", "umbel", "client", "--server", self.address, "--server-name", self.name),
            *("--tls", str(self.folder / "tls"), "--silo", silo["name"], "--dataset", silo["dataset"]),
            *("--client", self.job["spec"]["app"]["client"], *self._paths),
            *("--state", str(self.folder / state), *map(str, options)),
        ]

    def history(self) -> list[dict[str, Any]]:
        path = self.folder / "server/history.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


def worked(history: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Partial and full updates of each committed round. An attempt at the second may have been opened to a client that
    was about to leave: no update comes, and it does not wait for its deadline."""
    for record in history:
        if record["outcome"] != "Committed":
            counts = [record[name] for name in ("full", "partial", "timedOut")]
            assert (record["outcome"], record["round"], counts) == ("Abandoned", 2, [0, 0, 0])
    return [(record["partial"], record["full"]) for record in history if record["outcome"] == "Committed"]
