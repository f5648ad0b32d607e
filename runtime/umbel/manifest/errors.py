"""What is wrong with a manifest, said so that its author can mend it: the field, the fault, the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

SHOWN = 48  # characters of a bad value that an error repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """One problem. ``field``: a path such as ``spec.silos[2].name``, or the manifest's file name."""

    field: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.fault}; {self.remedy}"


class JobError(ValueError):
    """A manifest that cannot be run. Its text has one line for each fault."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def path_of(location: Iterable[str | int]) -> str:
    """``("spec", "silos", 2, "name")`` as ``spec.silos[2].name``; a key with dots or slashes goes in brackets too."""
    path = ""
    for step in location:
        if isinstance(step, int) or not step.replace("_", "a").replace("-", "a").isalnum():
            path += f"[{step if isinstance(step, int) or step.isprintable() else shown(step)}]"
        else:
            path += f".{step}" if path else step
    return path or "the manifest"


def shown(value: object) -> str:
    """A bad value as an error repeats it: short, on one line, containers by their kind only."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number of more than 38 digits"
    if value is None or isinstance(value, dict | list | tuple | set | bytes):
        return kind(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def kind(value: object) -> str:
    """What sort of YAML value this is, with its article."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a value of YAML's type {type(value).__name__}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The remedy for a word that is not among ``known``: the one that was probably meant, else all of them."""
    lowered = {word.lower(): word for word in known}
    close = get_close_matches(name.lower(), list(lowered), n=1)
    return f"did you mean {lowered[close[0]]}?" if close else f"use one of {', '.join(known)}"
