"""What a site remembers of its jobs: slurmdbd, and the database that it writes to, of this site alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .config import Layout, slurmdbd_conf
from .processes import SlurmError, program

DATABASE = "mariadbd"
ACCOUNTING = "slurmdbd"
TABLES = Path("/usr/share/mysql/mysql_system_tables.sql")


def prepare(of: Layout) -> None:
    """Raises SlurmError."""
    conf = of.folder / "slurmdbd.conf"
    conf.touch(mode=0o600)
    conf.write_text(slurmdbd_conf(of))
    _data(of).mkdir()
    statements = f"create database mysql;\nuse mysql;\n{TABLES.read_text()}"
    done = subprocess.run(
        [*_database(of), "--bootstrap"], input=statements, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise SlurmError(f"{DATABASE} --bootstrap: {done.stderr[-2000:]}")


def commands(of: Layout) -> dict[str, list[str]]:
    """Whoever is on this machine may use the database: nothing but the test's own jobs is in it."""
    assert of.accounting is not None
    listen = ("--bind-address=127.0.0.1", f"--port={of.accounting[1]}", f"--socket={socket(of)}")
    pid = f"--pid-file={of.folder}/mariadbd.pid"
    return {
        DATABASE: [*_database(of), "--skip-grant-tables", "--skip-name-resolve", *listen, pid],
        ACCOUNTING: [program(ACCOUNTING), "-D"],
    }


def socket(of: Layout) -> Path:
    return of.folder / "mariadbd.socket"


def _data(of: Layout) -> Path:
    return of.folder / "database"


def _database(of: Layout) -> list[str]:
    """Small, and quick rather than safe."""
    innodb = {"log-file-size": "4M", "buffer-pool-size": "16M", "flush-log-at-trx-commit": "0"}
    words = [f"--innodb-{name}={value}" for name, value in innodb.items()]
    return [program(DATABASE), "--no-defaults", f"--user={of.user}", f"--datadir={_data(of)}", *words]
