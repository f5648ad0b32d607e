"""The agent's state directory: one folder for each client and job, which nobody else may look into.

<directory>/agent.lock
<directory>/relay.port
<directory>/clients/<client>-<job's uid>/owner.json       whose it is
                                         attempt.json     how it was started last
                                         begun            when it first ran
                                         tls/             key, certificate, authorities
                                         state/           private parameters, and in the end the final model
                                         report.json      what the client said when the job had ended
                                         client.log
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from umbel.wire.pki import write_private
from umbel_operator.agent.backends.local.records import Attempt, Owner

OWNER, ATTEMPT, REPORT, LOG = "owner.json", "attempt.json", "report.json", "client.log"
BEGUN = "begun"  # seconds since the epoch: for policy.maxSeconds, whatever becomes of the rest
TOKEN = "token"  # of the attempt that is wanted, for its client and its script to read
TLS, STATE = "tls", "state"
KEY, CERTIFICATE, AUTHORITIES = "tls.key", "tls.crt", "ca.crt"
READ_BYTES = 1 << 20
LOG_BYTES = 16 << 20  # then the log begins anew; the one before is kept


class DirectoryError(Exception):
    """The state directory cannot be used; one line for the administrator."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in one client's folder. ``report``: None while the client has not said that the job has ended."""

    folder: Path
    owner: Owner
    key: str = ""
    certificate: str = ""
    authorities: str = ""
    attempt: Attempt | None = None
    report: str | None = None
    begun: float | None = None

    @property
    def secrets(self) -> bool:
        return bool(self.key or self.certificate)


class StateDirectory:
    """Held by one agent at a time: two would start every client twice."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._clients = self.path / "clients"
        self._lock = -1

    def hold(self) -> None:
        """Raises DirectoryError."""
        try:
            self._clients.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._lock = os.open(self.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            words = f"--state-dir {self.path}: cannot be used ({error.strerror}); choose a folder of your own"
            raise DirectoryError(words) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            words = f"--state-dir {self.path}: another agent is at work there; stop it, or choose another folder"
            raise DirectoryError(words) from None

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def folder(self, owner: Owner) -> Path:
        return self._clients / owner.folder

    def all(self) -> list[Kept]:
        """Raises OSError. A folder that is only half made is nobody's."""
        found = [_kept(path) for path in sorted(self._clients.iterdir()) if path.is_dir()]
        return [kept for kept in found if kept is not None]

    def of(self, client: str) -> tuple[Kept, ...]:
        return tuple(kept for kept in self.all() if kept.owner.client == client)


def make(folder: Path, owner: Owner, key: bytes) -> None:
    """The folder of a client, with a key; what was written down of an earlier life is gone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in (TLS, STATE):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    remove_secrets(folder)
    write_private(folder / TLS / KEY, key)
    write(folder / OWNER, owner.text())


def write(path: Path, text: str) -> None:
    write_private(path, text.encode())


def remove_secrets(folder: Path) -> None:
    remove(folder, (f"{TLS}/{name}" for name in (KEY, CERTIFICATE, AUTHORITIES)))


def remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def remove_all(folder: Path) -> None:
    """The owner last: what is left of a removal that was cut short is found again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != OWNER:
            path.unlink()
    (folder / OWNER).unlink()
    folder.rmdir()


def install(folder: Path, certificate: str, authorities: str) -> None:
    """The certificate last: whoever sees it sees its authorities too."""
    files: Mapping[str, str] = {AUTHORITIES: authorities, CERTIFICATE: certificate}
    for name, text in files.items():
        write(folder / TLS / name, text)


def bound_log(path: Path) -> None:
    """Begin a log anew that has grown too large: whoever writes to it appends, and goes on at its beginning."""
    try:
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            path.with_name(path.name + ".1").chmod(0o600)
            os.truncate(path, 0)
    except FileNotFoundError:
        pass


def _kept(folder: Path) -> Kept | None:
    owner = Owner.parse(_text(folder / OWNER) or "")
    if owner is None:
        return None
    tls = folder / TLS
    key, certificate, authorities = (_text(tls / name) or "" for name in (KEY, CERTIFICATE, AUTHORITIES))
    attempt = Attempt.parse(_text(folder / ATTEMPT) or "")
    return Kept(folder, owner, key, certificate, authorities, attempt, _text(folder / REPORT), _number(folder / BEGUN))


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    """None: it is not there. More than a megabyte is not read."""
    try:
        with path.open("rb") as file:
            return file.read(READ_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
