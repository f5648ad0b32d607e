"""Seconds, memory and CPU of a round, against a raw loopback copy of the same bytes in the same run.

    python benchmarks/rounds.py [--rounds N] [--only CLIENTSxMB] [--plain | --tls]

Server and clients are the shipped processes with an echo workload (every client adds 1 to every value). ``s/round`` is
the median of the rounds after the first, from the opening to the new model at the server; ``checkpoint`` (SHA-256,
write, fsync) stands beside it. ``raw`` is the time for the same bytes down and up between the same number of
processes over plain sockets. ``RSS`` is the server's peak, ``CPU s`` of all processes a round.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from umbel.wire import pki

HERE = Path(__file__).parent
JOB = """
apiVersion: umbel.dev/v1alpha1
kind: FederatedJob
metadata: {{name: bench}}
spec:
  app: {{client: "echo:app", config: {{megabytes: {megabytes}, tensors: {tensors}}}}}
  rounds: {{total: {rounds}, timeoutSeconds: 600, overSelection: 1}}
  evaluation: {{everyRounds: 0}}
  privacy: {{minCohort: {cohort}, allowSmallCohort: true}}
  silos: [{silos}]
"""


@dataclass(frozen=True)
class Case:
    clients: int
    megabytes: int
    tensors: int = 10


CASES = (Case(2, 1), Case(4, 10), Case(4, 100), Case(4, 100, 320), Case(20, 1), Case(40, 100))


@dataclass(frozen=True)
class Figures:
    seconds: float
    checkpoint: float
    raw: float
    rss: float  # MiB
    cpu: float  # seconds a round


def measure(case: Case, rounds: int, *, plain: bool) -> Figures:
    with tempfile.TemporaryDirectory(prefix="umbel-bench-") as folder:
        home = Path(folder)
        silos = [f"s{i}" for i in range(case.clients)]
        listed = ", ".join(f"{{name: {s}, dataset: none}}" for s in silos)
        cohort = min(3, case.clients)
        job = home / "job.yaml"
        job.write_text(
            JOB.format(megabytes=case.megabytes, tensors=case.tensors, rounds=rounds, cohort=cohort, silos=listed)
        )
        server, clients = _start(home, job, silos, plain=plain)
        usages = [os.wait4(p.pid, 0)[2] for p in (server, *clients)]
        records = [json.loads(line) for line in (home / "state/history.jsonl").read_text().splitlines()]
    if len(records) != rounds:
        raise SystemExit(f"{len(records)} of {rounds} rounds: the run failed")
    later = [r["seconds"] for r in records[1:]]
    cpu = sum(u.ru_utime + u.ru_stime for u in usages) / rounds
    return Figures(
        statistics.median(s["train"] + s["close"] for s in later),
        statistics.median(s["checkpoint"] for s in later),
        raw_copy(case.clients, case.megabytes * 1_000_000),
        usages[0].ru_maxrss / 1024,
        cpu,
    )


def _start(
    home: Path, job: Path, silos: list[str], *, plain: bool
) -> tuple[subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]:
    authority = pki.Authority.create(home / "ca")
    name = pki.server_name("bench", "default")
    authority.issue(home / "tls", pki.server_id("umbel.local", "default", "bench"), [name], 24)
    command = [sys.executable, "-m", "umbel"]
    scheme = "grpc" if plain else "grpcs"
    quiet = {"stdout": subprocess.DEVNULL, "env": _environment()}
    server = subprocess.Popen(
        [
            *(*command, "server", "--job", str(job), "--state", str(home / "state"), "--uid", "bench"),
            *("--listen", f"{scheme}://127.0.0.1:0", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0"),
            *("--tls", str(home / "tls"), "--endpoints", str(home / "endpoints"), "--path", str(HERE)),
        ],
        stderr=(home / "server.log").open("wb"),
        **quiet,  # type: ignore[call-overload]
    )
    while not (home / "endpoints").exists():
        if server.poll() is not None:
            raise SystemExit((home / "server.log").read_text())
        time.sleep(0.05)
    address = json.loads((home / "endpoints").read_text())["federation"]
    clients = []
    for silo in silos:
        tls = home / silo / "tls"
        authority.issue(tls, pki.silo_id("umbel.local", silo), [], 24)
        quiet["env"] = {**_environment(), "UMBEL_BENCHMARK_SILO": silo}
        arguments = [
            *(*command, "client", "--server", address, "--server-name", name, "--tls", str(tls), "--silo", silo),
            *("--client", "echo:app", "--state", str(home / silo / "state"), "--path", str(HERE)),
        ]
        clients.append(subprocess.Popen(arguments, stderr=subprocess.DEVNULL, **quiet))  # type: ignore[call-overload]
    return server, clients


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


ECHO_RAW = """
import socket, sys
size = int(sys.argv[2]); data = bytearray(size); view = memoryview(data)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    for _ in range(3):
        got = 0
        while got < size:
            got += s.recv_into(view[got:], size - got)
        s.sendall(data)
"""


def raw_copy(clients: int, size: int) -> float:
    """Median seconds for ``size`` bytes to every client and back, over plain sockets, all at once."""
    model = bytearray(size)
    listening = socket.create_server(("127.0.0.1", 0), backlog=clients)
    port = str(listening.getsockname()[1])
    children = [subprocess.Popen([sys.executable, "-c", ECHO_RAW, port, str(size)]) for _ in range(clients)]
    peers = [listening.accept()[0] for _ in range(clients)]
    slots = threading.Semaphore(2)

    def exchange(peer: socket.socket) -> None:
        peer.sendall(model)
        with slots:
            buffer = memoryview(slot_buffers.pop())
            got = 0
            while got < size:
                got += peer.recv_into(buffer[got:], size - got)
            slot_buffers.append(buffer.obj)  # type: ignore[arg-type]

    slot_buffers = [bytearray(size), bytearray(size)]
    times = []
    for _ in range(3):
        began = time.perf_counter()
        threads = [threading.Thread(target=exchange, args=(peer,)) for peer in peers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.append(time.perf_counter() - began)
    for child in children:
        child.wait()
    for peer in peers:
        peer.close()
    listening.close()
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", help="one case, as in 4x100 or 4x100x320 (tensors)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--plain", action="store_true", help="plain text only")
    which.add_argument("--tls", action="store_true", help="mutual TLS only")
    options = parser.parse_args()
    cases: tuple[Case, ...] = CASES
    if options.only:
        cases = (Case(*(int(n) for n in options.only.split("x"))),)
    print("| clients × MB (tensors) | wire | s/round | × raw | checkpoint s | raw s | server RSS MiB | CPU s/round |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        for plain in (True, False):
            if (plain and options.tls) or (not plain and options.plain):
                continue
            f = measure(case, options.rounds, plain=plain)
            print(
                f"| {case.clients} × {case.megabytes} ({case.tensors}) | {'plain' if plain else 'mTLS'} "
                f"| {f.seconds:.3f} | {f.seconds / f.raw:.1f} | {f.checkpoint:.3f} | {f.raw:.3f} "
                f"| {f.rss:.0f} | {f.cpu:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
