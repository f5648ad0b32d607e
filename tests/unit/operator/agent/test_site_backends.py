"""What a site file may hold for each backend, and the state directory of those that have no cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from umbel.cli.errors import CliError
from umbel_operator.agent import site
from umbel_operator.agent.backends import choice
from umbel_operator.agent.backends.local import directory
from umbel_operator.agent.backends.local.directory import DirectoryError, StateDirectory
from umbel_operator.agent.backends.local.records import Owner
from umbel_operator.agent.cli import agent
from umbel_operator.agent.site import BackendName, SiteError

PROCESS = {"process": {"python": "/srv/venv/bin/python"}}
SLURM = {"slurm": {"python": "/srv/venv/bin/python"}}


def faults(data: dict[str, Any], backend: BackendName | None = None) -> list[str]:
    def read() -> None:
        found = site.parse({"silo": "a", **data})
        assert backend is not None
        site.check_backend(found, backend)

    with pytest.raises(SiteError) as error:
        read()
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("backend", "data"),
    [
        ("kubernetes", {"datasets": {"ct": {"volumeClaim": "ct"}}, "state": {"size": "2Gi"}}),
        ("process", {**PROCESS, "datasets": {"ct": {"path": "/srv/ct"}}, "pods": {"ceilings": {"cpu": 4}}}),
        ("slurm", {**SLURM, "datasets": {"ct": {"path": "/shared/ct"}, "named": {}}}),
        ("slurm", {"slurm": {"container": {}, "partition": "fl", "options": {"exclusive": "", "gres": "gpu:1"}}}),
    ],
)
def test_what_is_right(backend: BackendName, data: dict[str, Any]) -> None:
    site.check_backend(site.parse({"silo": "a", **data}), backend)


@pytest.mark.parametrize(
    ("backend", "data", "lines"),
    [
        ("process", {}, ["process: is missing; add it: the backend process needs it"]),
        ("slurm", {}, ["slurm: is missing; add it: the backend slurm needs it"]),
        ("slurm", {**SLURM, **PROCESS}, ["process: means nothing to the backend slurm; take it out"]),
        ("kubernetes", SLURM, ["slurm: means nothing to the backend kubernetes; take it out"]),
        (
            "process",
            {**PROCESS, "network": {}, "pods": {"runtimeClassName": "nvidia"}},
            [
                "network: means nothing to the backend process; take it out",
                "pods.runtimeClassName: means nothing to the backend process; take it out",
            ],
        ),
        (
            "slurm",
            {**SLURM, "datasets": {"ct": {"volumeClaim": "ct"}}},
            ["datasets.ct.volumeClaim: is of no use to the backend slurm; give path"],
        ),
        (
            "kubernetes",
            {"datasets": {"ct": {"path": "/srv/ct"}}},
            ["datasets.ct.path: is of no use in a pod; give volumeClaim"],
        ),
    ],
)
def test_what_is_for_another_backend_is_told(backend: BackendName, data: dict[str, Any], lines: list[str]) -> None:
    assert faults(data, backend) == lines


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {"process": {}},
            "process.python: is missing; add it: Python of a virtual environment with umbel and what the jobs import",
        ),
        (
            {"process": {"python": "venv/bin/python"}},
            "process.python: 'venv/bin/python' is not an absolute path; write it like /srv/umbel/venv/bin/python",
        ),
        (
            {"process": {"python": "/p", "pyhton": "/p"}},
            "process.pyhton: unknown field; did you mean python?",
        ),
        (
            {"datasets": {"ct": {"path": "../ct"}}},
            "datasets.ct.path: '../ct' is not an absolute path; write it like /srv/umbel/venv/bin/python",
        ),
        ({"slurm": {}}, "slurm: has both or none of python and container; give exactly one of the two"),
        (
            {"slurm": {"python": "/p", "options": {"partition": "fl"}}},
            "slurm.options: has partition; write it beside options, as slurm.partition",
        ),
        (
            {"slurm": {"python": "/p", "options": {"mem-per-gpu": "1G"}}},
            "slurm.options: mem-per-gpu is not taken by sbatch beside --mem: give pods.defaults.limits.memory, of a "
            "node; take it out, or mend it",
        ),
        (
            {"slurm": {"python": "/p", "timeLimitSeconds": 30}},
            "slurm.timeLimitSeconds: 30 is less than 60; use at least 60",
        ),
    ],
)
def test_faults_name_the_field_and_the_remedy(data: dict[str, Any], line: str) -> None:
    assert faults(data) == [line]


@pytest.mark.parametrize("name", ["wrap", "uid", "export", "job-name", "output"])
def test_an_option_that_takes_a_job_out_of_the_agents_hands_is_refused(name: str) -> None:
    (line,) = faults({"slurm": {"python": "/p", "options": {name: "x"}}})
    assert line.startswith(f"slurm.options: {name} is not an option that a site may set")


def test_the_check_says_what_is_wrong_for_a_backend(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump({"silo": "a", **PROCESS}))
    run = CliRunner().invoke(agent, ["check", "--site", str(file), "--backend", "process"])
    assert run.exit_code == 0
    run = CliRunner().invoke(agent, ["check", "--site", str(file), "--backend", "slurm"])
    assert isinstance(run.exception, SiteError)
    assert "slurm: is missing" in str(run.exception)


@pytest.mark.parametrize(
    ("backend", "given", "words"),
    [
        ("process", {"--kubeconfig": "x"}, "--kubeconfig: means nothing to the backend process; leave it out"),
        ("slurm", {"--hub-secret": "x"}, "--hub-secret: means nothing to the backend slurm; leave it out"),
    ],
)
def test_an_option_for_another_backend_is_refused(backend: BackendName, given: dict[str, str], words: str) -> None:
    with pytest.raises(CliError, match=words):
        choice.check_options(backend, given)
    choice.check_options(backend, dict.fromkeys(given, ""))


# ---- the state directory


def test_two_agents_never_share_a_state_directory(tmp_path: Path) -> None:
    first, second = StateDirectory(tmp_path / "state"), StateDirectory(tmp_path / "state")
    first.hold()
    try:
        with pytest.raises(DirectoryError, match="another agent is at work there"):
            second.hold()
    finally:
        first.close()
    second.hold()
    second.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryError, match="cannot be used"):
        StateDirectory(tmp_path / "file").hold()


def test_a_clients_folder_is_for_nobody_else_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    held = StateDirectory(tmp_path)
    held.hold()
    owner = Owner("digits-abc", "digits", "default", "uid-1")
    folder = held.folder(owner)
    directory.make(folder, owner, b"key")
    directory.install(folder, "certificate", "authorities")
    (kept,) = held.of("digits-abc")
    assert (kept.key, kept.certificate, kept.authorities) == ("key", "certificate", "authorities")
    assert kept.owner == owner
    assert folder.name == "digits-abc-uid-1"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (folder / "tls").iterdir()} == {0o600}
    (held.path / "clients/half-made").mkdir()
    assert held.of("digits-abc") == (kept,)
    assert held.of("other") == ()
    directory.remove_secrets(folder)
    assert not held.of("digits-abc")[0].secrets
    directory.remove_all(folder)
    assert held.of("digits-abc") == ()
    held.close()


def test_a_log_that_grows_too_large_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOG_BYTES", 10)
    log = tmp_path / "client.log"
    with open(log, "ab", buffering=0) as writer:
        writer.write(b"0123456789")
        directory.bound_log(log)
        assert log.stat().st_size == 10
        writer.write(b"ab")
        directory.bound_log(log)
        writer.write(b"cd")
    assert log.read_bytes() == b"cd"
    assert (tmp_path / "client.log.1").read_bytes() == b"0123456789ab"
    directory.bound_log(tmp_path / "none.log")


def test_where_the_state_lies_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    found = StateDirectory(choice.default_directory("a")).path
    assert found == Path(os.path.expanduser("~/.local/state/umbel/a"))
