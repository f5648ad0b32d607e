"""A job on several machines, by the commands of docs/running.md alone: certificates, server, silos, status.

The machines are folders of this one: the page's host name and ports are replaced, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from .copy import ENVIRONMENT, PATIENCE, shell
from .text import ROOT, blocks

pytestmark = pytest.mark.process

PAGE = ROOT / "docs/running.md"
SILOS = ("silo-1", "silo-2", "silo-3")


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [held.getsockname()[1] for held in sockets]


class Machines:
    """One folder; ``ports``: what the page's are replaced by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(("8443", "9443", "9090"), map(str, free_ports(3)), strict=True))
        self._started: list[subprocess.Popen[bytes]] = []

    def here(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text.replace("hub.example.org", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")

    def run(self, text: str) -> str:
        return shell(self.here(text), self.folder)

    def start(self, text: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"log-{len(self._started)}").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self.here(text).strip()}"],
                cwd=self.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("log-*")))

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.logs()
            assert self._started[0].poll() is None, self.logs()
            time.sleep(0.1)

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    folder = Machines(tmp_path)
    try:
        yield folder
    finally:
        folder.end()


def the(word: str) -> str:
    """The one block of the page with this command."""
    (found,) = [block.text for block in blocks("sh") if block.page == PAGE and word in block.text]
    return found


def test_a_job_by_hand(machines: Machines) -> None:
    for command in ("umbel new", "openssl req -x509", "openssl req -new -key $party", "openssl x509 -req"):
        machines.run(the(command))
    server = machines.start(the("umbel server"))
    clients = [
        machines.start(the("umbel client").replace("silo-1", silo).replace("examples-1", f"examples-{silo[-1]}"))
        for silo in SILOS
    ]
    plain = f"http://127.0.0.1:{machines.ports['9090']}"
    machines.until(lambda: get(f"{plain}/healthz") == "ok\n")
    assert 'fl_job_rounds_target{fl_job="my-job",fl_namespace="default"} 10.0' in get(f"{plain}/metrics")
    assert status(machines, "silo-1") is None, "a silo may not read it"

    table = PAGE.read_text("utf-8").partition("### `/status`")[2].partition("###")[0]
    told = {key for line in table.splitlines() if line[:1] == "|" for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert told == (status(machines, "observer") or {}).keys()

    def complete() -> bool:
        return (status(machines, "observer") or {}).get("phase") == "Complete"

    machines.until(complete)
    for process in (server, *clients):
        assert process.wait(PATIENCE) == 0, machines.logs()
    one, *others = (load_file(machines.folder / silo / "state/model.safetensors") for silo in SILOS)
    assert one
    for other in others:
        assert all(np.array_equal(one[name], other[name]) for name in one.keys() | other.keys())


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def status(machines: Machines, who: str) -> dict[str, object] | None:
    """As the page reads it; None if that is refused."""
    said = machines.run(the("curl").replace("observer/", f"{who}/"))
    return None if said == "forbidden\n" else json.loads(said)


def test_looking_at_a_certificate(machines: Machines) -> None:
    for command in ("openssl req -x509", "openssl req -new -key $party", "openssl x509 -req"):
        machines.run(the(command))
    looks = re.findall(r"`(openssl x509 [^`]*tls\.crt)`", PAGE.read_text("utf-8"))
    said = [machines.run(look.replace("tls.crt", "silo-2/tls.crt")) for look in looks]
    assert any("URI:spiffe://example.org/silo/silo-2" in text for text in said)
    assert any("notAfter=" in text for text in said)
