"""What the hub's commands have in common: which API server, errors as one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from umbel.cli.errors import CliError
from umbel_operator.access import AccessError, default_kubeconfig
from umbel_operator.kube import ApiError, Kube

Result = TypeVar("Result")

KUBECONFIG = click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="The hub's API; as kubectl finds it, by default."
)
CONTEXT = click.option("--context", help="Context of the kubeconfig; its current one by default.")


def with_hub(kubeconfig: Path | None, context: str | None, work: Callable[[Kube], Awaitable[Result]]) -> Result:
    """Raises CliError for what the API server or the kubeconfig says."""

    async def run() -> Result:
        kube = Kube.from_kubeconfig(kubeconfig or default_kubeconfig(), context)
        try:
            return await work(kube)
        finally:
            await kube.close()

    try:
        return asyncio.run(run())
    except AccessError as error:
        raise CliError(str(error)) from None
    except ApiError as error:
        raise CliError(f"the hub's API server: {error}") from None
