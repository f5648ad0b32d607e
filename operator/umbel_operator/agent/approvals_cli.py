"""``umbel agent pending|approve|deny``: what the silo's administrator is asked, and his answers."""

from __future__ import annotations

import asyncio
import datetime
import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from umbel.cli.errors import CliError
from umbel_operator import access, kube
from umbel_operator.agent import site
from umbel_operator.agent.approvals.decision import Answers, Verdict, answered, answers_text, read_answers, standing
from umbel_operator.agent.approvals.request import Request, read_requests
from umbel_operator.agent.approvals.store import ConfigMapStore, FolderStore, Store
from umbel_operator.agent.backends import choice
from umbel_operator.table import show

TRIES = 5
Result = TypeVar("Result")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option(
                "--site", "site_file", required=True, type=click.Path(path_type=Path), help="The silo's site file."
            ),
            click.option(
                "--backend",
                type=click.Choice(get_args(site.BackendName)),
                default="kubernetes",
                show_default=True,
                help="As the agent's.",
            ),
            click.option("--state-dir", type=click.Path(path_type=Path), help="As the agent's."),
            click.option("--kubeconfig", type=click.Path(path_type=Path), help="For the silo's own cluster."),
            click.option("--namespace", default="", metavar="NAME", help="Where the clients run."),
        )
    ):
        command = option(command)
    return command


@click.command("pending")
@click.option("--all", "everything", is_flag=True, help="Those that were answered too.")
@_options
def pending(everything: bool, **where: Any) -> None:
    """List what waits for your approval."""

    async def work(store: Store) -> tuple[dict[str, Request], Answers]:
        found = await store.read()
        return _requests(found.requests), _answers(found.answers)

    requests, answers = _with_store(work, **where)
    rows = [_row(request, answers) for request in requests.values()]
    waiting = [row for row in rows if everything or row[-1] in ("Waiting", "Changed")]
    head = ["NAME", "NAMESPACE", "JOB", "IMAGE", "CLIENT", "DATASET", "SECONDS", "MINCOHORT", "STANDS"]
    show([head, *waiting])


@click.command("approve")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_options
def approve(names: tuple[str, ...], **where: Any) -> None:
    """Let requests run, as they are now: one that is changed waits again."""
    _answer(names, "Approved", "", where)


@click.command("deny")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--note", default="", help="Why; it stays in the silo.")
@_options
def deny(names: tuple[str, ...], note: str, **where: Any) -> None:
    """Refuse requests, or take approvals back: what runs is stopped."""
    _answer(names, "Denied", note, where)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a pod users have no names
        return str(os.getuid())


def _answer(names: tuple[str, ...], verdict: Verdict, note: str, where: dict[str, Any]) -> None:
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    by = _user()

    async def work(store: Store) -> dict[str, Request]:
        for _ in range(TRIES):
            found = await store.read()
            requests, answers = _requests(found.requests), _answers(found.answers)
            for name in names:
                if name not in requests:
                    raise CliError(f"{name}: no such request; `umbel agent pending --all` lists them")
                answers = answered(answers, requests, name, verdict, by, moment, note)
            if await store.write_answers(answers_text(answers), found.answers):
                return requests
        raise CliError("somebody else answers at the same time; look again and repeat it")

    requests = _with_store(work, **where)
    for name in names:
        request = requests[name]
        click.echo(f"{verdict.lower()} {name}: {request.namespace}/{request.job}, {request.image}, {request.client}")


def _with_store(
    work: Callable[[Store], Awaitable[Result]],
    site_file: Path,
    backend: site.BackendName,
    state_dir: Path | None,
    kubeconfig: Path | None,
    namespace: str,
) -> Result:
    found = site.load(site_file, backend)
    choice.check_options(backend, {"--state-dir": state_dir, "--kubeconfig": kubeconfig, "--namespace": namespace})
    if found.policy.approval == "Auto":
        raise CliError("policy.approval: is Auto, so that nobody is asked; write Manual to be asked")

    async def run() -> Result:
        if backend != "kubernetes":
            return await work(FolderStore(state_dir or choice.default_directory(found.silo)))
        api = kube.Kube.from_kubeconfig(kubeconfig or access.default_kubeconfig())
        try:
            return await work(ConfigMapStore(api, namespace or api.access.namespace, found.silo))
        finally:
            await api.close()

    try:
        return asyncio.run(run())
    except access.AccessError as error:
        raise CliError(str(error)) from None
    except kube.ApiError as error:
        raise CliError(f"the silo's API server: {error}") from None
    except OSError as error:
        raise CliError(f"--state-dir: cannot be used ({error.strerror})") from None


def _row(request: Request, answers: Answers) -> list[Any]:
    cohort = request.privacy.get("minCohort", "")
    own = [request.name, request.namespace, request.job, request.image, request.client, request.dataset]
    return [*own, request.deadline, cohort, standing(request, answers)]


def _requests(text: str) -> dict[str, Request]:
    try:
        return read_requests(text)
    except ValueError as error:
        raise CliError(f"the agent's requests cannot be read: {error}; is the agent of another version?") from None


def _answers(text: str) -> Answers:
    try:
        return read_answers(text)
    except ValueError as error:
        raise CliError(f"the answers given so far cannot be read: {error}; remove them, and answer again") from None
