"""The command ``umbel``.

A command is imported when it is called: a client process starts in the time that its own imports take, and
``umbel --help`` imports none of them. Other packages add commands under the entry-point group ``umbel.commands``.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from importlib import metadata

import click

from umbel import lifeline
from umbel.cli.errors import CliError

ENTRY_POINTS = "umbel.commands"
PROGRAM_FAULT = 70  # not Python's 1: a server's 1 says that its job Failed, and it would not be started again

# name -> (where it is, what it does); the second is here so that help needs no import.
BUILT_IN = {
    "new": ("umbel.cli.new:new_command", "Write a job and a client that run at once."),
    "run": ("umbel.cli.run:run_command", "Run a job on this machine: a server and one process per silo."),
    "server": ("umbel.cli.server:server_command", "Serve one job: the piece that `umbel run` starts first."),
    "client": ("umbel.cli.client:client_command", "Take part in a job as one silo."),
    "report": ("umbel.cli.report:report_command", "Write a run's report.html again."),
}

# Errors that are a user's to mend. Looked up by name: whoever raised one has imported its module.
USER_ERRORS = (
    ("umbel.cli.errors", "CliError"),
    ("umbel.manifest.errors", "JobError"),
    ("umbel.aggregation.strategy", "StrategyError"),
    ("umbel.wire.transport", "TransportError"),
)


class Commands(click.Group):
    """Built-in commands, then those of other packages; a built-in name cannot be taken over."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*BUILT_IN, *sorted(_plugged_in())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in BUILT_IN:
            return _load(cmd_name, BUILT_IN[cmd_name][0])
        point = _plugged_in().get(cmd_name)
        return None if point is None else _load(cmd_name, point.value)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, text) for name, (_, text) in BUILT_IN.items()]
        for name, point in sorted(_plugged_in().items()):
            try:
                rows.append((name, _load(name, point.value).get_short_help_str(limit=80)))
            except CliError as error:
                rows.append((name, f"({error})"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _plugged_in() -> dict[str, metadata.EntryPoint]:
    return {p.name: p for p in metadata.entry_points(group=ENTRY_POINTS) if p.name not in BUILT_IN}


def _load(name: str, location: str) -> click.Command:
    module, _, attribute = location.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CliError(f"command {name!r} cannot be loaded: {error}") from error
    if not isinstance(command, click.Command):
        raise CliError(f"command {name!r} cannot be loaded: {location} is not a click command")
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="umbel", message="umbel %(version)s")
def umbel() -> None:
    """Federated learning in production: one FederatedJob, from a laptop to many clusters.

    Begin with `umbel new my-job`, then `umbel run my-job/job.yaml`.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 2 with one line on stderr for a user's error, 130 when interrupted."""
    lifeline.hold()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; a fault of the program itself brings its traceback."""
    try:
        code = umbel.main(arguments, prog_name="umbel", standalone_mode=False)
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = None  # nobody reads it: nothing may be flushed at exit
        return 1
    except Exception as error:
        if not isinstance(error, _user_errors()):
            with contextlib.suppress(OSError):  # a disk that is full, perhaps the very fault
                traceback.print_exc()
            return PROGRAM_FAULT
        for line in str(error).splitlines():
            with contextlib.suppress(OSError):
                click.echo(f"umbel: {line}", err=True)
        return 2
    return code if isinstance(code, int) else 0


def _user_errors() -> tuple[type[BaseException], ...]:
    loaded = ((sys.modules.get(module), name) for module, name in USER_ERRORS)
    return tuple(getattr(module, name) for module, name in loaded if module is not None)
