"""``umbel client``: one silo's part in a job, until the job has ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from umbel.cli.errors import CliError
from umbel.client import ending, fence
from umbel.client.api import Client
from umbel.client.context import Dataset
from umbel.client.eligibility.guard import Guard
from umbel.client.loader import LoadError, load
from umbel.client.session import Member, Refused, Stuck
from umbel.client.silo import AppError, Site
from umbel.wire.registry import transport_for
from umbel.wire.transport import Connection, Credentials

STOPPED = 75  # by a signal, or the app did not return: started again, it goes on


@click.command("client")
@click.option("--server", required=True, metavar="URL", help="Where the server listens: grpcs://host:port.")
@click.option(
    "--server-name", default="", metavar="DNS", help="The name its certificate must carry; default: URL's host."
)
@click.option("--tls", type=click.Path(path_type=Path), help="Folder with tls.crt, tls.key and ca.crt of this silo.")
@click.option("--client", "reference", required=True, metavar="MODULE:OBJECT", help="The umbel.Client to run.")
@click.option("--silo", required=True, metavar="NAME", help="This silo's name, as in the job and in tls.crt.")
@click.option("--dataset", default="", metavar="NAME", help="The data set to train on, by its name in the job.")
@click.option("--data", type=click.Path(path_type=Path), help="Where that data set lies on this machine.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="Folder that survives a restart.")
@click.option("--path", "paths", multiple=True, metavar="FOLDER", help="Put on the import path; may be repeated.")
@click.option("--pod", "in_pod", is_flag=True, help="As a container: say why it ended to Kubernetes, then wait.")
@click.option(
    "--while", "token", nargs=2, metavar="FILE TOKEN", help="Stop as soon as FILE holds another token, or is gone."
)
@click.option(
    "--eligibility",
    default="",
    metavar="FILE",
    help="When this silo takes part: a file like the section eligibility of a site file, or {…} in JSON.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Say there, as JSON, that the job has ended.")
def client_command(
    server: str,
    server_name: str,
    tls: Path | None,
    reference: str,
    silo: str,
    dataset: str,
    data: Path | None,
    state: Path,
    paths: tuple[str, ...],
    in_pod: bool,
    token: tuple[str, str] | None,
    eligibility: str,
    report: Path | None,
) -> int:
    """Take part in a job as one silo.

    Dials the server, trains when asked, and ends with exit code 0 when the job has ended and the final model is in
    STATE/model.safetensors. A lost server is dialled again for ever. Tracebacks of your code are printed here and
    nowhere else.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    site = Site(silo, Dataset(dataset, _readable(data)), _writable(state))
    if in_pod and ending.MARK.exists():
        return asyncio.run(_until_stopped(ending.wait_to_be_stopped()))
    reports = [*((ending.MARK, ending.MESSAGE) if in_pod else ()), *((report,) if report else ())]
    if reports and ending.ended_before(site.state, reports):
        return 0
    credentials = _credentials(tls)
    guard = _guard(eligibility)
    app = _load(reference, paths)
    name = server_name or urlsplit(server).hostname or ""
    try:
        return asyncio.run(_take_part(app, site, server, name, credentials, reports, token, guard))
    except (Refused, AppError) as error:
        raise CliError(str(error)) from error
    except Stuck as error:
        click.echo(f"umbel: {error}", err=True)
        return STOPPED


async def _take_part(
    app: Client,
    site: Site,
    server: str,
    server_name: str,
    credentials: Credentials | None,
    reports: list[Path],
    token: tuple[str, str] | None,
    guard: Guard | None,
) -> int:
    transport = transport_for(server)

    async def connect() -> Connection:
        return await transport.connect(server, credentials, server_name)

    async def take_part() -> None:
        outcome = await Member(app, site, connect, guard=guard).run()
        ending.say_ended(outcome, site.state, reports)

    return await _until_stopped(_fenced(take_part(), token) if token else take_part())


async def _fenced(work: Coroutine[Any, Any, None], token: tuple[str, str]) -> None:
    """The first of the two to end ends both; the fence ends as a signal would."""
    file, mine = token
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(fence.until_taken_over(Path(file), mine))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise asyncio.CancelledError
        task.result()
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _until_stopped(work: Coroutine[Any, Any, None]) -> int:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return STOPPED
    return 0


def _guard(eligibility: str) -> Guard | None:
    if not eligibility:
        return None
    from umbel.client.eligibility.opening import guard_of  # brings pydantic, which no other client needs

    return guard_of(eligibility)


def _load(reference: str, paths: tuple[str, ...]) -> Client:
    try:
        return load(reference, paths)
    except LoadError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, ModuleNotFoundError):
            traceback.print_exception(error.__cause__)  # the module's own fault: its author needs the place
        raise CliError(str(error)) from error


def _readable(data: Path | None) -> Path | None:
    if data is not None and not os.access(data, os.R_OK | (os.X_OK if data.is_dir() else 0)):
        raise CliError(f"--data {data}: cannot be read; check that it exists and its permissions")
    return data


def _writable(state: Path) -> Path:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"--state {state}: cannot be made: {error.strerror}; choose another folder") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise CliError(f"--state {state}: cannot be written to; check its permissions")
    return state


def _credentials(tls: Path | None) -> Credentials | None:
    if tls is None:
        return None
    files = [tls / name for name in ("tls.crt", "tls.key", "ca.crt")]
    for file in files:
        if not os.access(file, os.R_OK):
            raise CliError(f"--tls {tls}: {file.name} cannot be read; it holds tls.crt, tls.key and ca.crt")
    return Credentials(*files)
