"""``umbel new``: a job and a client that run at once, to be changed step by step."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

import click

from umbel.cli.errors import CliError

FILES = ("job.yaml", "client.py")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # a DNS label, which the job's name becomes part of


@click.command("new")
@click.argument("directory", type=click.Path(path_type=Path))
def new_command(directory: Path) -> int:
    """Write a job and its client into the new folder DIRECTORY.

    The last part of DIRECTORY is the job's name. The job runs as it is: `umbel run DIRECTORY/job.yaml`. Your own data
    goes into `load`, your own model into the methods of the client.
    """
    name = directory.resolve().name
    if not NAME.fullmatch(name):
        raise CliError(f"{name!r} cannot name a job: use 1 to 63 lower-case letters, digits and '-', as in my-job")
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise CliError(f"{directory}: exists already; name a folder that does not") from None
    except OSError as error:
        raise CliError(f"{directory}: cannot be made: {error.strerror}; choose another place") from error
    for file in FILES:
        template = resources.files("umbel.cli").joinpath("templates", f"{file}.template").read_text("utf-8")
        (directory / file).write_text(Template(template).substitute(name=name), "utf-8")
    click.echo(f"{directory}: job.yaml and client.py written. Next: umbel run {directory / 'job.yaml'}")
    return 0
