"""What `umbel run` shows while a job runs: a live table on a terminal, one plain line a round elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from umbel.cli.records import Record, metric_names
from umbel.cli.running.status import Status

ROUNDS_SHOWN = 8
NOTHING = (-1, 0)


class Presenter(Protocol):
    def note(self, text: str) -> None:
        """Something about a process: it ended, it is started again, it is Failed."""
        ...

    def show(self, status: Status) -> None:
        """What the server said just now."""
        ...

    def close(self) -> None: ...


class Quiet:
    """Nothing but what went wrong with a process."""

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def show(self, status: Status) -> None:
        return

    def close(self) -> None:
        return


class Plain(Quiet):
    """One line for each round, when it is over. ``told``: (round, attempt) of the last one before a resumed run."""

    def __init__(self, told: tuple[int, int] = NOTHING) -> None:
        self._rounds = Rounds(told)

    def show(self, status: Status) -> None:
        for record in self._rounds.new(status):
            click.echo(line(record, status))


class Rounds:
    """Which rounds of a status were not there before. A round is told once it is released, and only once."""

    def __init__(self, told: tuple[int, int] = NOTHING) -> None:
        self._last = told

    def new(self, status: Status) -> Iterator[Record]:
        for record in status.history:
            if (record.round, record.attempt) > self._last:
                self._last = (record.round, record.attempt)
                yield record


def line(record: Record, status: Status) -> str:
    """``round 3/20   10/10 connected   loss 0.31   accuracy 0.94``"""
    parts = [
        f"round {record.round}/{status.total}",
        f"{status.connected}/{record.invited} connected/invited",
        *(f"{name} {value:.4g}" for name, value in metrics(record).items()),
    ]
    if not record.committed:
        parts.append(f"abandoned ({record.reason})" if record.reason else "abandoned")
    return "   ".join(parts)


def metrics(source: Record | Status) -> Mapping[str, float]:
    """Of one released round: evaluation where there is one, else training; ``loss`` first."""
    values = {**source.train, **source.evaluate}
    return {name: values[name] for name in sorted(values, key=lambda n: (n != "loss", n))}


class Terminal:
    """A table that is drawn over itself."""

    def __init__(self, job: str, console: Console) -> None:
        self._job = job
        self._console = console
        self._live = Live(Text("starting the server …"), console=console, auto_refresh=False, transient=True)
        self._live.start()

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="yellow"))

    def show(self, status: Status) -> None:
        self._live.update(render(self._job, status), refresh=True)

    def close(self) -> None:
        self._live.stop()


def render(job: str, status: Status) -> RenderableType:
    return Group(_head(job, status), Text(), _table(status))


def _head(job: str, status: Status) -> RenderableType:
    title = Text.assemble((job, "bold"), "  ", (status.phase, "cyan"), "  ", (status.message, "dim"))
    done = max((r.round for r in status.history if r.committed), default=0)
    deadline = "–" if status.deadline is None else f"{max(0.0, status.deadline):.0f} s"
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        f"round {status.round}/{status.total}", ProgressBar(total=max(1, status.total), completed=done, width=40)
    )
    members = f"{status.connected}/{status.members} connected, {status.invited} invited, deadline in {deadline}"
    return Group(title, bar, Text(members))


def _table(status: Status) -> RenderableType:
    shown = status.history[-ROUNDS_SHOWN:]
    names = metric_names(shown)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("round", "members", "seconds", *names):
        table.add_column(title, justify="right")
    for record in shown:
        arrived = record.counts.get("full", 0) + record.counts.get("partial", 0)
        values = metrics(record)
        table.add_row(
            str(record.round) if record.committed else f"{record.round} abandoned",
            f"{arrived}/{record.invited}",
            f"{sum(record.seconds.values()):.1f}",
            *(f"{values[name]:.4f}" if name in values else "–" for name in names),
        )
    return table
