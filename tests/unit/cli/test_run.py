"""`umbel run` and `umbel report` up to where processes start: each fault is one line, before anything is made."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from umbel.cli import main, preflight
from umbel.cli.errors import CliError
from umbel.cli.running.directory import RunDirectory

MANIFEST = """\
apiVersion: umbel.dev/v1alpha1
kind: FederatedJob
metadata: {name: digits}
spec:
  app: {client: "client:app"}
  rounds: {total: 3, quorum: 3}
  metrics: [{name: accuracy, min: 0, max: 1}]
  silos:
    - {name: a, dataset: ct}
    - {name: b, dataset: ct}
    - {name: c, dataset: mr}
"""
CLIENT = """\
import numpy as np
import umbel

class Digits(umbel.Client):
    def initial(self, ctx):
        return {"w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}

    def num_examples(self, ctx):
        return 100

    def fit(self, parameters, ctx):
        return umbel.Update(parameters)

app = Digits()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a manifest and its client in it."""
    (tmp_path / "job.yaml").write_text(MANIFEST)
    (tmp_path / "client.py").write_text(CLIENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command that ends with exit code 2 and makes nothing."""
    assert main.run(list(arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    assert not Path("runs").exists()
    return output.err


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main.umbel, list(arguments))


@pytest.mark.parametrize("command", sorted(main.BUILT_IN))
def test_every_command_explains_itself(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: umbel {command} ")
    described = result.output.split("Options:")[0]
    assert len(described.split()) > 15, "help is more than a synopsis"
    assert main.BUILT_IN[command][1]


@pytest.mark.usefixtures("folder")
class TestRefusals:
    def test_no_manifest(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no.yaml: no such file" in said(capsys, "run", "no.yaml")

    def test_a_fault_in_the_manifest(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("job.yaml").write_text(MANIFEST.replace("quorum: 3", "quorum: 4"))
        assert "spec.rounds.quorum" in said(capsys, "run", "job.yaml")

    def test_data_of_a_dataset_nobody_has(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = said(capsys, "run", "job.yaml", "--data", "xray=.")
        assert "no silo's dataset is called 'xray'; the manifest has ct, mr" in text

    def test_data_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--data ct=gone: no such file or folder" in said(capsys, "run", "job.yaml", "--data", "ct=gone")

    def test_data_without_a_path(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "write --data NAME=PATH" in said(capsys, "run", "job.yaml", "--data", "ct")

    def test_data_that_cannot_be_read(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("data").mkdir()
        real = os.access  # root may read anything
        monkeypatch.setattr(os, "access", lambda path, *a, **k: path != Path("data") and real(path, *a, **k))
        assert "--data ct=data: cannot be read" in said(capsys, "run", "job.yaml", "--data", "ct=data")

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("a", "--eligibility a: not a silo and a file; write --eligibility SILO=FILE"),
            ("d=rules", "--eligibility d=rules: the manifest has no silo 'd'"),
            ("a=gone", "gone: no such file; name a file like the section eligibility of a site file"),
            ("a=rules", "rules: maxLoad: 0 is not more than 0; use more than 0"),
        ],
    )
    def test_rules_of_eligibility(self, capsys: pytest.CaptureFixture[str], given: str, words: str) -> None:
        Path("rules").write_text("maxLoad: 0\n")
        assert words in said(capsys, "run", "job.yaml", "--eligibility", given)

    def test_a_busy_port(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = str(busy.getsockname()[1])
            assert f"--port {port}: is in use by another process" in said(capsys, "run", "job.yaml", "--port", port)

    def test_a_directory_that_holds_something(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "not empty" in said(capsys, "run", "job.yaml", "--out", ".")

    def test_a_job_that_selects_silos_by_label(self, capsys: pytest.CaptureFixture[str]) -> None:
        head = MANIFEST.split("  silos:")[0]
        Path("job.yaml").write_text(head + "  siloSelector: {matchLabels: {tier: gold}, dataset: ct}\n")
        assert "spec.silos: is empty" in said(capsys, "run", "job.yaml")

    def test_resume_of_what_is_no_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "not the directory of a run" in said(capsys, "run", "--resume", ".")

    def test_resume_of_a_complete_run(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = RunDirectory.create(folder / "done", folder / "job.yaml", {})
        run.facts.outcome = "Complete"
        run.save()
        assert "is complete" in said(capsys, "run", "--resume", "done")

    def test_resume_of_a_run_in_use(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = RunDirectory.create(folder / "busy", folder / "job.yaml", {})
        with run.held():
            assert "in use by another" in said(capsys, "run", "--resume", "busy")

    def test_resume_whose_data_is_gone(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        RunDirectory.create(folder / "old", folder / "job.yaml", {"ct": folder / "moved"})
        assert "moved: no such file or folder" in said(capsys, "run", "--resume", "old")

    def test_resume_whose_rules_are_gone(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        RunDirectory.create(folder / "old", folder / "job.yaml", {}, {"a": folder / "moved"})
        assert "moved: no such file;" in said(capsys, "run", "--resume", "old")

    @pytest.mark.parametrize("arguments", [(), ("job.yaml", "--resume", "x"), ("--resume", "x", "--dry-run")])
    def test_options_that_exclude_each_other(self, arguments: tuple[str, ...]) -> None:
        assert invoke("run", *arguments).exit_code == 2

    def test_report_of_what_is_no_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "not the directory of a run" in said(capsys, "report", ".")


def test_a_free_port_is_fine() -> None:
    preflight.check_port(0)


def test_a_port_below_1024_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(CliError, match="--port 443: permission denied"):
        preflight.check_port(443)


class TestDryRun:
    def test_the_plan_has_defaults_estimate_and_warnings(self, folder: Path) -> None:
        result = invoke("run", str(folder / "job.yaml"), "--dry-run")
        assert result.exit_code == 0, result.output
        for part in (
            "  seed: 0  # default",
            "    quorum: 3\n",
            "    updates: 3  # default",
            "#   model: 2 tensors, 650 values, 2.6 kB",
            "#   down: 7.8 kB (3 silos",
            "#   up: 7.8 kB (3 updates of 2.6 kB)",
            "#     training: at most 10 min; silos are told 60 s before",
            "# warning: spec.rounds.quorum:",
        ):
            assert part in result.output
        assert not Path("runs").exists()

    def test_the_plan_is_a_manifest_that_runs(self, folder: Path) -> None:
        first = invoke("run", str(folder / "job.yaml"), "--dry-run").output
        (folder / "job.yaml").write_text(first)
        assert preflight.read_job(folder / "job.yaml")

    def test_a_client_that_cannot_be_imported(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "client.py").unlink()
        assert "spec.app.client" in said(capsys, "run", "job.yaml", "--dry-run")


def test_report_from_the_history_a_server_left(folder: Path) -> None:
    run = RunDirectory.create(folder / "run", folder / "job.yaml", {})
    run.facts.outcome = "Complete"
    run.save()
    run.server_state.mkdir(parents=True)
    record = {"round": 1, "attempt": 1, "outcome": "Committed", "invited": 3, "full": 3, "evaluate": {"accuracy": 0.75}}
    run.history.write_text(json.dumps(record) + "\n")
    result = invoke("report", str(run.path))
    assert result.exit_code == 0, result.output
    page = run.report.read_text()
    assert "<dt>accuracy</dt><dd>0.75</dd>" in page
    assert "<dt>strategy</dt><dd>FedAvg" in page
    assert "Complete" in page


def test_report_written_elsewhere(folder: Path) -> None:
    RunDirectory.create(folder / "run", folder / "job.yaml", {})
    assert invoke("report", "run", "--out", "page.html").exit_code == 0
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert main.run(["report", "run", "--out", "no/such/folder.html"]) == 2
