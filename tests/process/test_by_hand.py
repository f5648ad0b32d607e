"""The pieces of `umbel run` by hand, with certificates of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from umbel.wire import pki

from .harness import APP, Control, Processes, Run, manifest, wait_for

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3")


def test_a_server_and_three_clients(processes: Processes, tmp_path: Path) -> None:
    control = Control(tmp_path / "control")
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(manifest(SILOS, rounds={"total": 2})))
    authority = pki.Authority.create(tmp_path / "ca")
    name = pki.server_name("steered", "default")
    authority.issue(tmp_path / "server-tls", pki.server_id("example.org", "default", "steered"), [name])
    state, endpoints = tmp_path / "state", tmp_path / "endpoints.json"
    server = processes.start(
        [
            *("server", "--job", job, "--state", state, "--uid", "by-hand", "--tls", tmp_path / "server-tls"),
            *("--listen", "grpcs://127.0.0.1:0", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0"),
            *("--trust-domain", "example.org", "--endpoints", endpoints, "--path", APP),
        ],
        output=tmp_path / "server.log",
    )
    wait_for(endpoints.exists, "the server to be ready")
    address = json.loads(endpoints.read_text())["federation"]
    clients = []
    for silo in SILOS:
        tls = tmp_path / silo / "tls"
        authority.issue(tls, pki.silo_id("example.org", silo))
        arguments = [
            *("client", "--server", address, "--server-name", name, "--tls", tls, "--path", APP),
            *("--client", "controlled:app", "--silo", silo, "--dataset", "any", "--state", tmp_path / silo / "state"),
        ]
        environment = {"UMBEL_TEST_CONTROL": str(control.folder)}
        clients.append(processes.start(arguments, environment=environment, output=tmp_path / silo / "log"))
    assert [process.wait(60) for process in [*clients, server]] == [0, 0, 0, 0]
    models = [load_file(tmp_path / silo / "state" / "model.safetensors") for silo in SILOS]
    (newest,) = (state / "checkpoints" / "checkpoint-000002").glob("model.safetensors")
    for model in models:
        assert all(np.array_equal(model[key], array) for key, array in load_file(newest).items())


def test_a_report_written_again(run: Run, processes: Processes) -> None:
    run.start(manifest(rounds={"total": 1})).complete()
    first = (run.path / "report.html").read_text()
    (run.path / "report.html").unlink()
    assert processes.start(["report", run.path]).wait(60) == 0
    assert (run.path / "report.html").read_text() == first
