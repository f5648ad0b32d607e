"""The command group: what it lists, what it imports, and how it says no."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import click
import pytest

from umbel.cli import main
from umbel.cli.errors import CliError

BOOM = click.Command("boom", callback=lambda: None, help="Another package's command.")


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package brings three commands: a good one, one that cannot be imported, one whose name is taken."""
    points = [
        metadata.EntryPoint("boom", f"{__name__}:BOOM", main.ENTRY_POINTS),
        metadata.EntryPoint("broken", "no.such.module:command", main.ENTRY_POINTS),
        metadata.EntryPoint("run", f"{__name__}:BOOM", main.ENTRY_POINTS),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == main.ENTRY_POINTS else [])
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[BOOM.__module__])


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_lists_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("new", "run", "server", "client", "report"):
        assert f"  {name} " in text
    loaded = python(
        "import sys; from umbel.cli.main import run; run(['--help']);"
        "print([m for m in sys.modules if m in ('numpy','grpc','aiohttp','pydantic','rich','umbel.cli.run')])"
    )
    assert loaded.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"umbel {metadata.version('umbel')}\n"


def test_an_unknown_command_is_one_error_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["trian"]) == 2
    assert "No such command 'trian'" in capsys.readouterr().err


@pytest.mark.usefixtures("plugged_in")
def test_other_packages_add_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Another package's command." in text
    assert "command 'broken' cannot be loaded" in text
    assert main.run(["boom"]) == 0


@pytest.mark.usefixtures("plugged_in")
def test_a_built_in_name_cannot_be_taken() -> None:
    assert "run" not in main._plugged_in()


@pytest.mark.usefixtures("plugged_in")
def test_a_command_that_cannot_be_imported_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["broken"]) == 2
    assert capsys.readouterr().err == "umbel: command 'broken' cannot be loaded: No module named 'no'\n"


def raising(error: Exception) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("fails", callback=callback)


@pytest.mark.parametrize("where", main.USER_ERRORS)
def test_a_users_error_is_one_line_and_exit_code_2(
    where: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, name = where
    kind = getattr(__import__(module, fromlist=[name]), name)
    text = "spec.seed: is -1; use 0 or more"
    subclass = type("Fault", (kind,), {"__init__": lambda _: None, "__str__": lambda _: text})
    monkeypatch.setattr(main, "_load", lambda *_: raising(subclass()))
    assert main.run(["run"]) == 2
    assert capsys.readouterr().err == "umbel: spec.seed: is -1; use 0 or more\n"


def test_a_fault_of_the_program_keeps_its_traceback_and_is_no_failed_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_load", lambda *_: raising(ZeroDivisionError("by nothing")))
    assert main.run(["server"]) == main.PROGRAM_FAULT
    assert capsys.readouterr().err.endswith("ZeroDivisionError: by nothing\n")


def test_what_a_command_returns_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_load", lambda *_: click.Command("run", callback=lambda: 130))
    assert main.run(["run"]) == 130


def test_a_command_line_error_is_a_cli_error() -> None:
    assert str(CliError("x: is wrong; write y")) == "x: is wrong; write y"
