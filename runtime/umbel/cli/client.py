"""``umbel client``: one silo's part in a job, until the job has ended."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from umbel.cli.errors import CliError
from umbel.cli.stopping import STOPPED, until_stopped
from umbel.client import ending, fence
from umbel.client.api import Client
from umbel.client.context import Dataset
from umbel.client.eligibility.guard import Guard
from umbel.client.loader import LoadError, load
from umbel.client.ranks.follower import follow
from umbel.client.ranks.leader import RankLost, leading
from umbel.client.ranks.place import Place, place
from umbel.client.session import Member, Refused, Stuck
from umbel.client.silo import AppError, Site
from umbel.wire.credentials import Credentials
from umbel.wire.registry import transport_for
from umbel.wire.transport import Connection

STOP_SECONDS = 10.0  # less than a pod, or `umbel run`, gives it


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
@click.option(
    "--stop-seconds",
    type=click.FloatRange(0),
    default=STOP_SECONDS,
    show_default=True,
    help="After TERM: for the work at hand to end early, and to be sent.",
)
@click.option("--rank-host", default="", metavar="HOST", help="Of several ranks: how the others reach the first.")
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
    stop_seconds: float,
    rank_host: str,
) -> int:
    """Take part in a job as one silo.

    Dials the server, trains when asked, and ends with exit code 0 when the job has ended and the final model is in
    STATE/model.safetensors. A lost server is dialled again for ever. Tracebacks of your code are printed here and
    nowhere else. At TERM it ends its training early, sends what that came to, and ends with exit code 75.

    Started by Slurm's srun with several tasks, they are one client, and train together.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    site = Site(silo, Dataset(dataset, _readable(data)), _writable(state))
    if in_pod and ending.MARK.exists():
        return asyncio.run(until_stopped(ending.wait_to_be_stopped()))
    reports = [*((ending.MARK, ending.MESSAGE) if in_pod else ()), *((report,) if report else ())]
    where = _place()
    if reports and ending.ended_before(site.state, reports if where.rank == 0 else ()):
        return 0
    credentials = _credentials(tls)
    guard = _guard(eligibility)
    app = _load(reference, paths)
    name = server_name or urlsplit(server).hostname or ""
    manner = _Manner(where, rank_host, reports, token, stop_seconds, guard)
    try:
        if where.rank:
            return asyncio.run(follow(app, site, where, _shared(credentials), STOPPED))
        return asyncio.run(_take_part(app, site, server, name, credentials, manner))
    except (Refused, AppError) as error:
        raise CliError(str(error)) from error
    except (Stuck, RankLost) as error:
        click.echo(f"umbel: {error}", err=True)
        return STOPPED


class _Manner(NamedTuple):
    """``rank_host``: how the other ranks reach the first; empty: as its host is called."""

    place: Place
    rank_host: str
    reports: list[Path]
    token: tuple[str, str] | None
    stop_seconds: float
    guard: Guard | None


async def _take_part(
    app: Client, site: Site, server: str, server_name: str, credentials: Credentials | None, manner: _Manner
) -> int:
    transport = transport_for(server)
    member: Member | None = None

    async def connect() -> Connection:
        return await transport.connect(server, credentials, server_name)

    async def take_part() -> None:
        nonlocal member
        if manner.place.size == 1:
            member = Member(app, site, connect, guard=manner.guard)
            outcome = await member.run()
        else:
            shared = _shared(credentials)
            async with leading(app, site.state, manner.place, shared, manner.rank_host) as leader:
                member = Member(leader, site, connect, guard=manner.guard)
                outcome = await leader.guard(member.run())
        ending.say_ended(outcome, site.state, manner.reports)

    async def leave() -> None:
        if member is not None:
            await member.leave(manner.stop_seconds)

    return await until_stopped(_fenced(take_part(), manner.token) if manner.token else take_part(), leave)


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


def _place() -> Place:
    try:
        return place(os.environ)
    except ValueError as error:
        raise CliError(str(error)) from None


def _shared(credentials: Credentials | None) -> Credentials:
    if credentials is None:
        raise CliError("--tls is needed by a client of several ranks: its key is how they know one another")
    return credentials


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
