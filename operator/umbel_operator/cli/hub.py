"""``umbel hub``: the operator's own commands, and those of the hub's administrator."""

from __future__ import annotations

import time
from pathlib import Path

import click

from umbel_operator.cli import overview
from umbel_operator.cli.hub_ca import ca
from umbel_operator.cli.options import CONTEXT, KUBECONFIG, with_hub
from umbel_operator.cli.silo import NAMESPACE
from umbel_operator.hub.cli import hub

__all__ = ["hub"]

hub.add_command(ca)


@hub.command("status")
@NAMESPACE
@KUBECONFIG
@CONTEXT
def status(namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    """The hub on one screen: its operator, its authority, silos and jobs by state, and what needs a person."""
    seen = with_hub(kubeconfig, context, lambda kube: overview.look(kube, namespace))
    for line in overview.lines(seen, time.time()):
        click.echo(line)
