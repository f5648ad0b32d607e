"""A table for people, on standard output."""

from __future__ import annotations

from typing import Any

import click


def show(rows: list[list[Any]]) -> None:
    """A table, columns aligned, the first row its head."""
    if rows:
        widths = [max(len(str(row[n])) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            click.echo("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
