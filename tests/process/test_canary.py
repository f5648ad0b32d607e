"""A canary: what one silo is called, does and sends is found nowhere outside of it."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from pathlib import Path

import pytest

from umbel.wire import pki

from .app.controlled import PATTERN
from .harness import Run, manifest, wait_for

pytestmark = pytest.mark.process

CANARY, HOST = "canary-zebra-7", "canary-host-okapi"
SILOS = (CANARY, "silo-2", "silo-3", "silo-4")
NEEDLE = 8 * PATTERN
# MALLOC_PERTURB_ overwrites what is freed, except what goes to glibc's cache of small pieces: there must be none.
SURROUNDINGS = {
    "UMBEL_TEST_DUMPABLE": "1",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
    "MALLOC_PERTURB_": "85",
    "PYTHONMALLOC": "malloc",
    "MALLOC_ARENA_MAX": "2",
    "UMBEL_TEST_HOST": f"{CANARY}={HOST}",
}
SIZE = 1_000_000  # 4 MB, some frames


def in_memory(pid: int, needle: bytes) -> list[str]:
    """The mappings of a process in which ``needle`` is found."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split(maxsplit=5)
            start, end = (int(number, 16) for number in span.split("-"))
            if "r" not in rights or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except OSError:  # unmapped since, or not memory
                continue
            if needle in data:
                found.append(f"{line} ({data.count(needle)} times)")
    return found


def status(run: Run) -> bytes:
    """``/status``, as it is sent."""
    tls = run.path / "observer" / "tls"
    context = ssl.create_default_context(cafile=str(tls / "ca.crt"))
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    host, _, port = run.endpoints["admin"].removeprefix("https://").partition(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
    connection.connect = lambda: _dial(connection, context)  # type: ignore[method-assign]
    return _get(connection, "/status")


def _dial(connection: http.client.HTTPSConnection, context: ssl.SSLContext) -> None:
    """To the address, expecting the name that the certificate carries."""
    http.client.HTTPConnection.connect(connection)
    connection.sock = context.wrap_socket(connection.sock, server_hostname=pki.server_name("steered", "default"))


def metrics(run: Run) -> bytes:
    connection = http.client.HTTPConnection(run.endpoints["http"].removeprefix("http://"), timeout=30)
    return _get(connection, "/metrics")


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def written(run: Run) -> dict[str, bytes]:
    """Every file of the run but the manifest, certificates, and what is in a silo's own folder."""
    everything = [path for path in run.path.rglob("*") if path.is_file()]
    kept = [p for p in everything if p.name != "job.yaml" and p.suffix not in (".crt", ".key")]
    return {str(p): p.read_bytes() for p in kept if "silos" not in p.relative_to(run.path).parts}


def assert_unnamed(texts: dict[str, bytes]) -> None:
    told = re.compile(b"zebra|okapi")
    assert {name: told.findall(data) for name, data in texts.items() if told.search(data)} == {}


@pytest.fixture
def planted(run: Run) -> Run:
    """Round 1 is open: the canary's update has been taken, and silo-2's is missing. Round 2 will stay open."""
    run.control.order(f"fit.1.{CANARY}", "plant")
    run.control.order("fit.1.silo-2", "hold")
    run.control.order("fit.2", "hold")
    app = {"client": "controlled:app", "config": {"size": SIZE, "scale": 0}}
    run.start(manifest(SILOS, app=app, rounds={"total": 2}), launcher=SURROUNDINGS)
    wait_for(lambda: "round 1: update accepted" in run.client_log(CANARY), "the canary's update to be taken")
    return run


def test_a_canary_is_found_nowhere(planted: Run) -> None:
    run = planted
    client, server = run.client(CANARY).pid, run.server().pid
    assert in_memory(client, NEEDLE), "the search finds what is there"
    run.control.end("fit.1.silo-2")
    run.released(1)
    run.control.await_all(SILOS, "fit", 2)
    wait_for(lambda: not in_memory(server, NEEDLE), f"the update to be gone: {in_memory(server, NEEDLE)}", patience=5)
    assert_unnamed({"status": status(run), "metrics": metrics(run), **written(run)})

    (run.control.folder / "do" / f"fit.2.{CANARY}").write_text("raise")
    run.control.end("fit.2")
    run.complete()
    assert (run.path / "report.html").exists()
    assert_unnamed({**written(run), "output": run.output.read_bytes()})
    for path in run.path.rglob("*"):
        assert not path.is_file() or NEEDLE not in path.read_bytes(), path
