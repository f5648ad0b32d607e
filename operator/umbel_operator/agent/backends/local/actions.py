"""What may be done in a client's folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from umbel_operator import logs
from umbel_operator.agent import identity
from umbel_operator.agent.backends.local import directory
from umbel_operator.agent.backends.local.records import Attempt, Owner


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Make the folder, unless it is there, and a new key in it."""

    folder: Path
    owner: Owner


@dataclass(frozen=True, slots=True)
class Install:
    """Put the certificate beside the key."""

    folder: Path
    certificate: str
    authorities: str


@dataclass(frozen=True, slots=True)
class RemoveSecrets:
    folder: Path


@dataclass(frozen=True, slots=True)
class Begin:
    """It has first run, or is about to, ``at`` this time."""

    folder: Path
    at: float


@dataclass(frozen=True, slots=True)
class Note:
    """Write an attempt down anew; None: nothing is meant to run."""

    folder: Path
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class Retain:
    """Nobody asks for it any more, and its state stays."""

    folder: Path
    owner: Owner


@dataclass(frozen=True, slots=True)
class Remove:
    """The whole folder, with the state."""

    folder: Path


def note(folder: Path, attempt: Attempt | None) -> None:
    """The token first when it is to end, last when it is to begin: it is wanted no longer than it is written down."""
    wanted = attempt is not None and attempt.stopping is None
    if not wanted:
        directory.remove(folder, (directory.TOKEN,))
    if attempt is None:
        directory.remove(folder, (directory.ATTEMPT,))
        return
    directory.write(folder / directory.ATTEMPT, attempt.text())
    if wanted:
        directory.write(folder / directory.TOKEN, attempt.token)


def do(action: object) -> bool:
    """Whether it was one of these. Raises OSError."""
    match action:
        case MakeKey(folder, owner):
            directory.make(folder, owner, identity.new_key())
            logs.info("made a key", name=folder.name)
        case Install(folder, certificate, authorities):
            directory.install(folder, certificate, authorities)
            logs.info("installed a certificate", name=folder.name)
        case RemoveSecrets(folder):
            directory.remove_secrets(folder)
        case Begin(folder, at):
            directory.write(folder / directory.BEGUN, repr(at))
        case Note(folder, attempt):
            note(folder, attempt)
        case Retain(folder, owner):
            directory.write(folder / directory.OWNER, replace(owner, retained=True).text())
            logs.info("the state is retained", name=folder.name)
        case Remove(folder):
            directory.remove_all(folder)
            logs.info("deleted", name=folder.name)
        case _:
            return False
    return True
