"""A run's directory: made once, found again, held by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbel.cli.errors import CliError
from umbel.cli.running.directory import RunDirectory, fresh_path
from umbel.cli.running.identities import Identities
from umbel.wire import pki


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "job.yaml"
    path.parent.mkdir()
    path.write_text("kind: FederatedJob\n")
    return path


def test_a_run_is_found_again_with_what_it_needs(tmp_path: Path, manifest: Path) -> None:
    made = RunDirectory.create(tmp_path / "run", manifest, {"ct": Path("data")})
    found = RunDirectory.open(tmp_path / "run")
    assert found.facts == made.facts
    assert found.facts.source == str(manifest.parent)
    assert found.facts.data == {"ct": str(Path("data").resolve())}
    assert found.job.read_text() == manifest.read_text()


def test_two_runs_have_two_uids(tmp_path: Path, manifest: Path) -> None:
    uids = {RunDirectory.create(tmp_path / name, manifest, {}).facts.uid for name in ("a", "b")}
    assert len(uids) == 2


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path, manifest: Path) -> None:
    with pytest.raises(CliError, match="not empty"):
        RunDirectory.create(manifest.parent, manifest, {})


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="not the directory of a run"):
        RunDirectory.open(tmp_path)


def test_one_process_at_a_time_holds_a_run(tmp_path: Path, manifest: Path) -> None:
    first = RunDirectory.create(tmp_path / "run", manifest, {})
    second = RunDirectory.open(tmp_path / "run")
    with first.held(), pytest.raises(CliError, match="in use by another"), second.held():
        pass
    with second.held():
        pass


def test_runs_of_one_second_do_not_meet(tmp_path: Path) -> None:
    first = fresh_path("digits", tmp_path)
    first.mkdir()
    assert fresh_path("digits", tmp_path) != first
    assert first.name.startswith("digits-")


def test_everybody_gets_an_identity_and_a_resumed_run_new_certificates(tmp_path: Path, manifest: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", manifest, {})
    identities = Identities(run, "default", "digits", ["a", "b"])
    due = identities.issue()
    files = [run.server_tls, run.silo("a") / "tls", run.silo("b") / "tls", run.observer]
    before = [(d / "tls.crt").read_bytes() for d in files]
    assert due == pki.renew_at(run.observer / "tls.crt")
    authority = (run.authority / "ca.crt").read_bytes()
    identities.issue()
    assert all((d / "tls.crt").read_bytes() != old for d, old in zip(files, before, strict=True))
    assert (run.authority / "ca.crt").read_bytes() == authority
