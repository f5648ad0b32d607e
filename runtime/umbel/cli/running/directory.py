"""A run's directory: where everything lies, and that one process at a time holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from umbel.cli.errors import CliError

FACTS = "run.json"


@dataclass(slots=True)
class Facts:
    """What a resumed run has to know besides the job. ``source``: the manifest's folder; ``data``: dataset -> path;
    ``eligibility``: silo -> file."""

    uid: str
    source: str
    data: dict[str, str] = field(default_factory=dict)
    eligibility: dict[str, str] = field(default_factory=dict)
    outcome: str = ""
    reason: str = ""


class RunDirectory:
    """``<path>/{job.yaml, run.json, ca, server, silos/<name>, server.log, model.safetensors, report.html}``."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self.path = path
        self.facts = facts

    @classmethod
    def create(
        cls, path: Path, manifest: Path, data: Mapping[str, Path], eligibility: Mapping[str, Path] | None = None
    ) -> Self:
        """Make a run of a manifest. Raises CliError when ``path`` holds something already or cannot be made."""
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(path.iterdir()):
                raise CliError(f"{path} is not empty; name a new directory, or go on with `umbel run --resume {path}`")
            (path / "job.yaml").write_bytes(manifest.read_bytes())
        except OSError as error:
            raise CliError(f"{path} cannot be made: {error.strerror}; choose another with --out") from error
        files, rules = ({name: str(p.resolve()) for name, p in of.items()} for of in (data, eligibility or {}))
        run = cls(path.resolve(), Facts(str(uuid.uuid4()), str(manifest.resolve().parent), files, rules))
        run.save()
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """A run that is there. Raises CliError when it is none."""
        try:
            facts = Facts(**json.loads((path / FACTS).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CliError(f"{path} is not the directory of a run: it has no readable {FACTS}") from error
        return cls(path.resolve(), facts)

    def save(self) -> None:
        temporary = self.path / f".{FACTS}"
        temporary.write_text(json.dumps(asdict(self.facts), indent=2) + "\n", "utf-8")
        temporary.replace(self.path / FACTS)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out, also if this one is killed. Raises CliError when another one is in."""
        with (self.path / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CliError(f"{self.path} is in use by another `umbel run`; stop that one first") from error
            yield

    @property
    def job(self) -> Path:
        return self.path / "job.yaml"

    @property
    def authority(self) -> Path:
        return self.path / "ca"

    @property
    def observer(self) -> Path:
        return self.path / "observer" / "tls"

    @property
    def server_tls(self) -> Path:
        return self.path / "server" / "tls"

    @property
    def server_state(self) -> Path:
        return self.path / "server" / "state"

    @property
    def endpoints(self) -> Path:
        return self.path / "server" / "endpoints.json"

    @property
    def server_log(self) -> Path:
        return self.path / "server.log"

    @property
    def history(self) -> Path:
        return self.server_state / "history.jsonl"

    def checkpoints(self) -> list[Path]:
        """The models in the server's checkpoints, the newest first; should no status have named the last one."""
        return sorted(self.server_state.glob("checkpoints/*/model.safetensors"), reverse=True)

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def silo(self, name: str) -> Path:
        return self.path / "silos" / name

    def client_log(self, name: str) -> Path:
        return self.silo(name) / "client.log"


def fresh_path(job: str, base: Path = Path("runs")) -> Path:
    """``runs/<job>-<local time>``, with a number behind it when two runs start in one second."""
    stem = f"{job}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (base / (stem if n == 1 else f"{stem}-{n}") for n in range(1, 1000))
    return next(path for path in candidates if not path.exists())
