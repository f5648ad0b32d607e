"""What `umbel run` and `umbel server` refuse: one line that says what is wrong, exit code 2, nothing left running."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from umbel.wire import pki

from .harness import Processes, Run, manifest, wait_for

pytestmark = pytest.mark.process


def assert_refused(run: Run, *words: str) -> None:
    """Exit code 2 and, besides the line that says what was started, one line of an error."""
    assert run.wait() == 2
    said = [line for line in run.said().splitlines() if not line.startswith("steered: ")]
    assert len(said) == 1, said
    assert said[0].startswith(("umbel: ", "Error: "))
    for word in words:
        assert word in said[0]
    assert not run.processes.family()


def test_a_client_module_that_cannot_be_imported(run: Run) -> None:
    run.start(manifest(app={"client": "nowhere:app"}))
    assert_refused(run, "nowhere")


def test_an_unreadable_dataset(run: Run, tmp_path: Path) -> None:
    run.start(manifest(), "--data", f"data-of-silo-1={tmp_path / 'absent'}")
    assert_refused(run, "--data data-of-silo-1=", "no such file")
    assert not run.path.exists()


def test_a_busy_port(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run.start(manifest(), "--port", str(port))
        assert_refused(run, f"--port {port}", "in use")
    assert not run.path.exists()


def test_an_impossible_job(run: Run) -> None:
    run.start(manifest(rounds={"total": 1, "quorum": 9}))
    assert_refused(run, "spec.rounds.quorum")
    assert not run.path.exists()


class Stopped:
    """A run stopped within round 2 with the checkpoints of rounds 0 and 1, and what starts a server on its state."""

    def __init__(self, run: Run, processes: Processes) -> None:
        self.run, self.processes = run, processes
        self.state = run.path / "server" / "state"

    def serve(self, name: str, *, uid: str | None = None, http: str = "127.0.0.1:0") -> tuple[int, list[str]]:
        """(exit code, what it said besides its log) of a server that ought not to start."""
        output = self.run.path.parent / f"{name}.txt"
        process = self.processes.start(
            [
                *("server", "--job", self.run.path / "job.yaml", "--state", self.state),
                *("--uid", uid or self.uid, "--tls", self.run.path / "server" / "tls", "--http", http),
                *("--listen", "grpcs://127.0.0.1:0", "--admin", "127.0.0.1:0", "--path", self.run.job.parent),
                *("--observer", pki.observer_id(pki.TRUST_DOMAIN)),
            ],
            output=output,
        )
        code = process.wait(60)
        return code, [line for line in output.read_text().splitlines() if not line.startswith("{")]

    @property
    def uid(self) -> str:
        return str(json.loads((self.run.path / "run.json").read_text())["uid"])


@pytest.fixture
def stopped(run: Run, processes: Processes) -> Stopped:
    silos = ("silo-1", "silo-2", "silo-3")
    run.control.order("fit.2", "hold")
    run.start(manifest())
    run.control.await_all(silos, "fit", 2)
    run.released(1)
    return Stopped(run, processes)


def stop(stopped: Stopped) -> None:
    assert stopped.run.process is not None
    stopped.run.process.terminate()
    assert stopped.run.wait() == 130
    stopped.run.control.end("fit.2")


def test_whose_state_a_server_takes(stopped: Stopped) -> None:
    code, said = stopped.serve("second")
    assert code == 2
    assert said == [f"umbel: {stopped.state} is in use by another server; stop that one first"]
    stop(stopped)

    code, said = stopped.serve("stranger", uid="of-another-job")
    assert code == 2
    assert len(said) == 1
    assert f"belongs to job {stopped.uid}" in said[0]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = stopped.serve("crowded", http=f"127.0.0.1:{port}")
    assert code == 2
    assert len(said) == 1
    assert str(port) in said[0]
    stopped.run.start(None).complete()
    assert stopped.run.committed() == [1, 2, 3]


def test_a_spoiled_checkpoint(stopped: Stopped) -> None:
    """The one before it is gone on from: its round is the last that counts. With none left, the job does not start
    anew by itself."""
    stop(stopped)
    newest, older = sorted((stopped.state / "checkpoints").glob("checkpoint-*"), reverse=True)
    model = newest / "model.safetensors"
    spoiled = bytearray(model.read_bytes())
    spoiled[-5] ^= 1
    model.write_bytes(spoiled)
    kept = older.with_name("kept")
    shutil.copytree(older, kept)
    (older / "state.json").write_text("{}")
    code, said = stopped.serve("hopeless")
    assert code == 2
    assert len(said) == 1
    assert "no checkpoint" in said[0]
    shutil.rmtree(older)
    os.rename(kept, older)
    stopped.run.start(None).complete()
    assert stopped.run.committed()[-2:] == [2, 3]
    assert '"skipped_checkpoints": 1' in stopped.run.server_log()


@pytest.mark.parametrize("room", [100_000, 100], ids=["for all but the model", "for nothing"])
def test_a_full_disk(run: Run, room: int) -> None:
    """The round is undone and opened again; once there is room the job goes on, as if nothing had been."""
    silos = ("silo-1", "silo-2", "silo-3")
    run.control.order("fit.2", "hold")
    job = manifest(
        app={"client": "controlled:app", "config": {"size": 100_000}},
        rounds={"total": 3, "maxConsecutiveAbandoned": 1000},
    )
    run.start(job, launcher={"UMBEL_TEST_FSIZE": str(room)})
    run.control.await_all(silos, "fit", 2)
    run.released(1)
    (run.control.folder / "full").touch()
    run.control.end("fit.2")
    wait_for((run.control.folder / "squeezed").exists, "the disk to be full at a checkpoint")
    (run.control.folder / "full").unlink()
    run.complete()
    assert run.committed() == [1, 2, 3]
    failed = next(record for record in run.history() if record["outcome"] == "Abandoned")
    assert (failed["round"], failed["reason"], failed["train"]) == (2, "CheckpointFailed", {})
    assert run.endpoints["epoch"] == 1, "the server lived on"
