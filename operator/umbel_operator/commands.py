"""What `umbel` shows of the control plane: groups that import nothing until they are used."""

from __future__ import annotations

import importlib
from typing import Any

import click


class Lazy(click.Group):
    """The group at ``location`` (module:attribute), imported when its commands or its help are wanted."""

    def __init__(self, name: str, location: str, short_help: str) -> None:
        super().__init__(name=name, short_help=short_help)
        self._location = location

    def _real(self) -> click.Group:
        module, _, attribute = self._location.partition(":")
        found: Any = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Group), self._location
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._real().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._real().get_command(ctx, cmd_name)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.help = self._real().help
        super().format_help_text(ctx, formatter)


agent = Lazy("agent", "umbel_operator.agent.cli:agent", "Run the clients of a hub's jobs in this silo.")
hub = Lazy("hub", "umbel_operator.cli.hub:hub", "Run and look after the hub.")
model = Lazy("model", "umbel_operator.cli.model:model", "Fetch, list and remove the models of finished jobs.")
silo = Lazy("silo", "umbel_operator.cli.silo:silo", "Invite, list, suspend and remove silos.")
