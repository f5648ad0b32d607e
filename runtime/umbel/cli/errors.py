"""What the command line says to its user instead of a traceback."""

from __future__ import annotations


class CliError(Exception):
    """A known fault: one line with what is wrong and what would be right; ends the command with exit code 2."""
