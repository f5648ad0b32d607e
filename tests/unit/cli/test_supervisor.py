"""The supervisor over stand-in processes: who is started, who is started again, and how a run ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from umbel.cli.running import processes, restarts, supervisor
from umbel.cli.running.directory import RunDirectory
from umbel.cli.running.identities import Identities
from umbel.cli.running.processes import Commands
from umbel.cli.running.progress import Quiet
from umbel.cli.running.supervisor import Result, Supervisor

# Ready at once on a port where nobody answers /status; then whatever the test wants.
READY = """
import json, os, pathlib, signal, sys, time
endpoints = pathlib.Path({endpoints!r})
temporary = endpoints.with_suffix(".new")
temporary.write_text(json.dumps(
    {{"federation": "grpcs://127.0.0.1:4711", "admin": "https://127.0.0.1:9", "pid": os.getpid()}}))
temporary.replace(endpoints)
"""
WAIT = "import signal; signal.sigwait({signal.SIGUSR1})"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    manifest = tmp_path / "job.yaml"
    manifest.write_text("kind: FederatedJob\n")
    directory = RunDirectory.create(tmp_path / "run", manifest, {"ct": tmp_path})
    (directory.path / "server").mkdir()
    return directory


class Stage:
    """Starts ``python -c`` in place of the real commands and remembers their command lines."""

    def __init__(self, run: RunDirectory, monkeypatch: pytest.MonkeyPatch, *, server: str, client: str) -> None:
        self.run = run
        self.server = READY.format(endpoints=str(run.endpoints)) + server
        self.client = client
        self.started: list[list[str]] = []
        self.processes: list[asyncio.subprocess.Process] = []
        self.on_start: Callable[[list[str]], None] = lambda _: None
        monkeypatch.setattr(processes, "start", self.start)

    async def start(self, arguments: Sequence[str], log: Path) -> asyncio.subprocess.Process:
        self.started.append(list(arguments))
        code = self.server if arguments[0] == "server" else self.client
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdout=output, stderr=output, process_group=0
            )
        self.processes.append(process)
        self.on_start(self.started[-1])
        return process

    async def play(self, silos: int = 3, quorum: int = 2) -> Result:
        names = {f"s{n}": "ct" for n in range(silos)}
        identities = Identities(self.run, "default", "digits", list(names))
        commands = Commands(self.run, identities, "client:app")
        watched = Supervisor(commands, identities, names, quorum=quorum, port=0, presenter=Quiet())
        result = await watched.run()
        assert all(p.returncode is not None for p in self.processes), "somebody outlived the run"
        return result

    def of(self, kind: str) -> list[list[str]]:
        return [a for a in self.started if a[0] == kind]


def until(path: Path) -> str:
    """Code that waits for a file."""
    return f"\nimport pathlib, time\nwhile not pathlib.Path({str(path)!r}).exists(): time.sleep(0.01)\n"


async def test_complete_when_the_server_says_so(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    all_there = run.path / "all"
    stage = Stage(run, monkeypatch, server=until(all_there), client="pass")

    def note(_: list[str]) -> None:
        if len(stage.of("client")) == 3:
            all_there.touch()

    stage.on_start = note
    result = await stage.play()
    assert result.outcome == "Complete"
    assert len(stage.of("server")) == 1
    for command in stage.of("client"):
        assert command[command.index("--server") + 1] == "grpcs://127.0.0.1:4711"
        assert command[command.index("--data") + 1] == str(run.path.parent)


async def test_failed_brings_the_servers_last_word(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(run, monkeypatch, server="print('umbel: Diverged: not finite'); sys.exit(1)", client="pass")
    assert await stage.play() == Result("Failed", "Diverged: not finite", None)


async def test_a_bad_configuration_ends_it_at_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(run, monkeypatch, server="print('umbel: spec.app.client: no module x'); sys.exit(2)", client=WAIT)
    assert await stage.play() == Result("Misconfigured", "spec.app.client: no module x", None)
    assert len(stage.of("server")) == 1


async def test_a_killed_server_is_started_again_on_its_port(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "PAUSES", (0.0,) * 5)
    met = run.path / "met"
    server = f"""
if pathlib.Path({str(met)!r}).exists(): sys.exit(0)
{until(met)}
os.kill(os.getpid(), signal.SIGKILL)
"""
    stage = Stage(run, monkeypatch, server=server, client="pass")

    def note(arguments: list[str]) -> None:
        if arguments[0] == "client":
            met.touch()

    stage.on_start = note
    assert (await stage.play()).outcome == "Complete"
    listened = [command[command.index("--listen") + 1] for command in stage.of("server")]
    assert len(listened) == 2
    assert listened[1] == "grpcs://127.0.0.1:4711"


async def test_a_server_that_dies_six_times_fails_the_job(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "PAUSES", (0.0,) * 5)
    stage = Stage(run, monkeypatch, server="sys.exit(3)", client=WAIT)
    result = await stage.play()
    assert result.outcome == "Failed"
    assert result.reason.startswith("ServerLost: the server ended with exit code 3, after 5 new starts")
    assert len(stage.of("server")) == 6


async def test_too_few_silos_end_the_job_and_the_server(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    client = "import sys; print('umbel: client:app: no such module'); sys.exit(2)"
    stage = Stage(run, monkeypatch, server=WAIT, client=client)
    result = await stage.play(silos=3, quorum=2)
    assert result.outcome == "Failed"
    assert result.reason.startswith("TooFewSilos: 1 of 3 silos") or result.reason.startswith("TooFewSilos: 0 of 3")
    assert "client:app: no such module" in result.reason
    assert stage.processes[0].returncode == -signal.SIGTERM


async def test_ctrl_c_ends_everybody_with_term(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(run, monkeypatch, server=WAIT, client=WAIT)

    def interrupt(_: list[str]) -> None:
        if len(stage.started) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    stage.on_start = interrupt
    assert (await stage.play()).outcome == "Stopped"
    assert {p.returncode for p in stage.processes} == {-signal.SIGTERM}


async def test_who_ignores_term_is_killed(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.0)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAIT
    stage = Stage(run, monkeypatch, server=deaf, client=deaf)

    def interrupt(_: list[str]) -> None:
        if len(stage.started) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    stage.on_start = interrupt
    assert (await stage.play()).outcome == "Stopped"


def test_nobody_outlives_a_killed_supervisor() -> None:
    child = "from umbel import lifeline; lifeline.hold(); print('up', flush=True); import signal; signal.pause()"
    parent = (
        "import subprocess, sys, os, signal; from umbel.cli.running import processes;"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], env=processes.environment()); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"up\n"
        started.kill()
        assert started.stdout.read() == b"", "the pipe closes when the child is gone"


def test_children_have_one_thread_each() -> None:
    surroundings = processes.environment()
    assert {surroundings[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}


def test_the_last_line_of_a_log_is_the_last_that_says_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.last_line(log) == ""
    log.write_text("one\ntwo\n\n")
    assert processes.last_line(log) == "two"
