"""Real processes for a test: started, watched by polling conditions, and gone when the test is, also if it failed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

HERE = Path(__file__).parent
APP = HERE / "app"
LAUNCHER = HERE / "launcher.py"
PATIENCE = 60.0  # seconds until a condition that ought to come true is given up

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Poll until ``condition`` gives something true, and return that."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {patience:g} s for {what}"
        time.sleep(0.02)
    return found


def manifest(silos: Sequence[str] = ("silo-1", "silo-2", "silo-3"), **spec: Any) -> dict[str, Any]:
    """A job of the `controlled` client; ``spec`` overrides whole sections."""
    sections: dict[str, Any] = {
        "app": {"client": "controlled:app", "config": {"size": 64}},
        "seed": 7,
        "rounds": {"total": 3, "timeoutSeconds": 120},
        "metrics": [{"name": "draw", "min": 0, "max": 1}],
        "silos": [{"name": name, "dataset": f"data-of-{name}"} for name in silos],
        **spec,
    }
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": "steered", "namespace": "default"},
        "spec": sections,
    }


class Control:
    """The test's end of what `controlled` and `launcher` obey."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("at", "do"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def order(self, place: str, word: str) -> None:
        (self.folder / "do" / place).write_text(word)

    def end(self, place: str) -> None:
        (self.folder / "do" / place).unlink()

    def at(self, silo: str, place: str, round: int) -> int | None:
        """The process that is, or was, there; None if none has come so far."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.folder / "at" / f"{silo}.{place}.{round}").read_text())
        return None

    def await_all(self, silos: Sequence[str], place: str, round: int) -> None:
        wait_for(lambda: all(self.at(silo, place, round) for silo in silos), f"all to be at {place} of round {round}")


class Processes:
    """Everything a test has started, and what that has started in turn."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []
        self._seen: dict[int, psutil.Process] = {}

    def start(
        self,
        arguments: Sequence[str | Path],
        *,
        program: Sequence[str | Path] = ("-m", "umbel"),
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """One `umbel` command in a session of its own. Its output goes to a file, so that nobody has to read it."""
        with open(output or os.devnull, "a") as sink:
            process = subprocess.Popen(
                [sys.executable, *map(str, program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                text=True,
                cwd=cwd,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def family(self) -> list[psutil.Process]:
        """Every process that was started so far, seen now or before, and is alive."""
        for process in self._started:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(process.pid)
                self._seen |= {p.pid: p for p in (root, *root.children(recursive=True))}
        return [p for p in self._seen.values() if _alive(p)]

    def end(self) -> None:
        """Kill whatever is left, by id."""
        for _ in range(2):  # who was being started during the first pass is there in the second
            for process in self.family():
                with contextlib.suppress(psutil.Error):
                    process.kill()
        for started in self._started:
            started.wait()


def _alive(process: psutil.Process) -> bool:
    """Running, and still the one that had this id; a zombie is not."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


class Run:
    """One `umbel run` of a steered job, in ``base/run``."""

    def __init__(self, processes: Processes, base: Path) -> None:
        self.processes = processes
        self.path = base / "run"
        self.job = base / "job.yaml"
        self.output = base / "output"
        self.control = Control(base / "control")
        self.process: subprocess.Popen[str] | None = None

    def start(
        self, job: Mapping[str, Any] | None, *options: str | Path, launcher: Mapping[str, str] | None = None
    ) -> Run:
        """``job`` None: resume. ``launcher``: its settings, to run under it; see there."""
        if job is None:
            what: tuple[str | Path, ...] = ("--resume", self.path)
        else:
            self.job.write_text(yaml.safe_dump(job))
            (self.job.parent / "controlled.py").write_text((APP / "controlled.py").read_text())
            what = (self.job, "--out", self.path)
        environment = {"UMBEL_TEST_CONTROL": str(self.control.folder), **(launcher or {})}
        program = ("-m", "umbel") if launcher is None else (LAUNCHER,)
        self.process = self.processes.start(
            ["run", *what, *options], program=program, environment=environment, output=self.output
        )
        return self

    def wait(self, patience: float = 2 * PATIENCE) -> int:
        """The exit code."""
        assert self.process is not None
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"umbel run has not ended:\n{self.said()}\n{self.server_log()[-2000:]}") from None

    def complete(self) -> None:
        """Wait for the end, which has to be Complete."""
        code = self.wait()
        assert code == 0, f"exit code {code}:\n{self.said()}\n{self.server_log()[-2000:]}"

    def said(self) -> str:
        return self.output.read_text()

    def server_log(self) -> str:
        path = self.path / "server.log"
        return path.read_text() if path.exists() else ""

    def client_log(self, silo: str) -> str:
        path = self.path / "silos" / silo / "client.log"
        return path.read_text() if path.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def endpoints(self) -> dict[str, Any]:
        return json.loads((self.path / "server" / "endpoints.json").read_text())  # type: ignore[no-any-return]

    def server(self, not_pid: int = 0) -> psutil.Process:
        """The server's process, once it is ready; ``not_pid``: of the one before."""

        def ready() -> psutil.Process | None:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                pid = int(self.endpoints["pid"])
                return psutil.Process(pid) if pid != not_pid else None
            return None

        return wait_for(ready, "the server to be ready")

    def client(self, silo: str, not_pid: int = 0) -> psutil.Process:
        """The process of a silo, once it is there."""

        def there() -> psutil.Process | None:
            for process in self.processes.family():
                with contextlib.suppress(psutil.Error):
                    line = process.cmdline()
                    if "--silo" in line and line[line.index("--silo") + 1] == silo and process.pid != not_pid:
                        return process
            return None

        return wait_for(there, f"the process of {silo}")

    def history(self) -> list[dict[str, Any]]:
        """The released rounds; a line that is being written is left out."""
        path = self.path / "server" / "state" / "history.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def committed(self) -> list[int]:
        return [record["round"] for record in self.history() if record["outcome"] == "Committed"]

    def released(self, round: int, attempt: int | None = None) -> dict[str, Any]:
        """The record of a round, once it is released."""

        def found() -> dict[str, Any] | None:
            records = (r for r in self.history() if r["round"] == round and attempt in (None, r["attempt"]))
            return next(records, None)

        return wait_for(found, f"the release of round {round}")


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    started = Processes()
    try:
        yield started
    finally:
        started.end()
