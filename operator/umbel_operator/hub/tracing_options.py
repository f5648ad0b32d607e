"""``--traces`` and what belongs to it, of ``umbel hub run``."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from umbel.cli.errors import CliError
from umbel_operator.hub.settings import Tracing

Command = TypeVar("Command", bound=Callable[..., Any])
PORT = click.IntRange(1, 65535)
OPTIONS = (
    click.option("--traces", default="", metavar="URL", help="Servers of jobs send traces there: OTLP over HTTP."),
    click.option("--traces-headers", default="", metavar="NAME", help="Secret of a job's namespace with headers."),
    click.option("--traces-namespace", default="", metavar="NAME", help="Where the collector is. Default: anywhere."),
    click.option("--traces-cidr", multiple=True, metavar="CIDR", help="Or its addresses. May be repeated."),
    click.option("--traces-port", multiple=True, type=PORT, help="Of its pods. Default: the URL's. May be repeated."),
)


def options(command: Command) -> Command:
    """They arrive as arguments whose names begin with ``traces``."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read(*, traces: str, **more: Any) -> Tracing | None:
    """Raises CliError."""
    if not traces:
        for name, given in more.items():
            if given:
                raise CliError(f"--{name.replace('_', '-')}: means nothing without --traces")
        return None
    if not _is_collector(traces):
        raise CliError("--traces: write http://host:port or https://host:port, without a user's name")
    for cidr in more["traces_cidr"]:
        try:
            ip_network(cidr)
        except ValueError as error:
            raise CliError(f"--traces-cidr: {error}; write it like 10.1.0.0/16") from None
    where = (more["traces_namespace"], more["traces_cidr"], more["traces_port"])
    return Tracing(traces.rstrip("/"), more["traces_headers"], *where)


def _is_collector(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in url and parts.port != 0
    except ValueError:
        return False
