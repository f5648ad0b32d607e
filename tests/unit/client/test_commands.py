"""`umbel new` and `umbel client` at the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from umbel.cli.main import run
from umbel.job import load, resolve

CLIENT = """
import numpy as np, umbel
class App(umbel.Client):
    def num_examples(self, ctx): return 1
    def fit(self, parameters, ctx): return umbel.Update(parameters)
app = App()
"""


def test_new_writes_a_job_and_a_client_that_fit_together(tmp_path, capsys):
    folder = tmp_path / "my-job"
    assert run(["new", str(folder)]) == 0
    assert f"umbel run {folder / 'job.yaml'}" in capsys.readouterr().out
    job = resolve(load(folder / "job.yaml"))
    assert (job.metadata.name, job.spec.app.client) == ("my-job", "client:app")
    command = [sys.executable, "-m", "umbel.client.initial", "--client", job.spec.app.client, "--path", str(folder)]
    subprocess.run([*command, "--out", str(tmp_path / "model")], check=True, capture_output=True)


def test_new_leaves_an_existing_folder_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert run(["new", str(tmp_path / "mine")]) == 2
    assert "exists already; name a folder that does not" in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["My-Job", "-job", "my_job", "a" * 64])
def test_new_refuses_what_cannot_name_a_job(tmp_path, capsys, name):
    assert run(["new", str(tmp_path / name)]) == 2
    assert "cannot name a job" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def client(tmp_path: Path, **changed: str) -> list[str]:
    (tmp_path / "an_app.py").write_text(CLIENT)
    given = {"server": "nowhere://localhost", "client": "an_app:app", "silo": "a", "state": str(tmp_path / "state")}
    given |= {"path": str(tmp_path)} | changed
    return ["client", *(part for name, value in given.items() for part in (f"--{name}", value))]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, "umbel: nowhere://localhost: no transport for nowhere://; installed: "),
        ({"client": "an_app:other"}, "umbel: spec.app.client: module an_app has no 'other'"),
        ({"client": "not_there:app"}, "umbel: spec.app.client: not_there:app: no module 'not_there'"),
        ({"data": "/not/there"}, "umbel: --data /not/there: cannot be read"),
        ({"tls": "/not/there"}, "umbel: --tls /not/there: tls.crt cannot be read"),
        ({"eligibility": "/not/there"}, "umbel: /not/there: no such file"),
        ({"eligibility": '{"maxLoad": 2}'}, "umbel: --eligibility: maxLoad: 2 is more than 1; use at most 1"),
        ({"state": "/proc/not/possible"}, "umbel: --state /proc/not/possible: cannot be made"),
    ],
)
def test_a_client_that_cannot_start_says_why_in_one_line(tmp_path, capsys, monkeypatch, changed, fault):
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run(client(tmp_path, **changed)) == 2
    error = capsys.readouterr().err
    assert error.startswith(fault)
    assert error.count("\n") == 1
