"""`umbel` with faults that strike at a chosen point; the product itself knows nothing of them.

``launcher.py run JOB …`` is `umbel run JOB …`, and starts server and clients under this launcher too. Environment:

UMBEL_TEST_KILL   ``point:n …``: the server kills itself when it comes to that point of round n, once for each entry.
                  Points: `POINTS`.
UMBEL_TEST_PAUSE  seconds before a dead process is started again, at most before a lost server is dialled again, and
                  for a client's code to stop when the job has ended.
UMBEL_TEST_FSIZE  bytes: no file of the server may grow beyond, from the first checkpoint that finds the file ``full``
                  in the control folder to the first that does not. The server answers with the file ``squeezed``.
UMBEL_TEST_STALL  a silo whose first upload stops half way, for good; it says so by the file ``stalled-<silo>``.
UMBEL_TEST_HOST   ``silo=name``: what that silo's process takes its host to be called.
UMBEL_TEST_CENSUS ``n …``: after these rounds the server counts what it holds, in ``census-<n>.json``.

A silo with a folder ``machine/<silo>`` in the control folder takes that for the root of its machine: what it measures
there, under proc, sys and dev, is the test's to write.

Each start of a server leaves a copy of the history it found as ``history-<n>.jsonl`` in the control folder.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import platform
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

CONTROL = Path(os.environ["UMBEL_TEST_CONTROL"])
# point -> (module, class, method, before or after the call): the round is the number of the first argument.
POINTS = {
    "before-checkpoint": ("checkpoint", "CheckpointStore", "save", "before"),
    "after-checkpoint": ("checkpoint", "CheckpointStore", "save", "after"),
    "before-evaluated": ("closing", "Closing", "close_evaluation", "before"),
    "before-recorded": ("closing", "Closing", "release", "before"),
    "before-published": ("board", "Board", "publish", "before"),
    "after-published": ("board", "Board", "publish", "after"),
}


def main() -> None:
    command = sys.argv[1]
    if command == "run":
        launch_children()
    elif command == "server":
        keep_history(Path(sys.argv[sys.argv.index("--state") + 1]) / "history.jsonl")
        for entry in os.environ.get("UMBEL_TEST_KILL", "").split():
            point, _, round = entry.partition(":")
            arm(point, int(round))
        if limit := os.environ.get("UMBEL_TEST_FSIZE"):
            fill_disk(int(limit))
        if rounds := os.environ.get("UMBEL_TEST_CENSUS"):
            count_after({int(n) for n in rounds.split()})
    elif command == "client":
        dial_soon()
        silo = sys.argv[sys.argv.index("--silo") + 1]
        if silo == os.environ.get("UMBEL_TEST_STALL"):
            stall(CONTROL / f"stalled-{silo}")
        if (root := CONTROL / "machine" / silo).exists():
            stand_on(root)
        of, _, host = os.environ.get("UMBEL_TEST_HOST", "").partition("=")
        if silo == of:
            call_host(host)
    from umbel.cli.main import main as umbel

    umbel(sys.argv[1:])


def launch_children() -> None:
    """Whatever `umbel run` starts as ``-m umbel`` is started as this file, with its pauses as the test wants them."""
    from umbel.cli.running import restarts, supervisor

    if pause := os.environ.get("UMBEL_TEST_PAUSE"):
        supervisor.STORE_SECONDS = 10 * float(pause)
        restarts.PAUSES = (float(pause),) * len(restarts.PAUSES)  # type: ignore[assignment]
    start = asyncio.create_subprocess_exec

    @functools.wraps(start)
    async def start_here(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        if command[1:3] == ("-m", "umbel"):
            command = (command[0], __file__, *command[3:])
        return await start(*command, **options)

    asyncio.create_subprocess_exec = start_here


def dial_soon() -> None:
    from umbel.client import session

    if pause := os.environ.get("UMBEL_TEST_PAUSE"):
        seconds = float(pause)
        session.Pace = functools.partial(  # type: ignore[assignment,misc]
            session.Pace, first_retry=seconds, longest_retry=seconds, patience=seconds
        )


def stall(mark: Path) -> None:
    from umbel.client.exchange import Exchange

    frames = Exchange.frames

    def half(self: Exchange, **options: bool) -> Iterator[memoryview]:
        for sent, frame in enumerate(frames(self, **options)):
            if sent == 2 and not mark.exists():
                mark.touch()
                while True:
                    time.sleep(1)
            yield frame

    Exchange.frames = half  # type: ignore[method-assign]


def stand_on(root: Path) -> None:
    from umbel.client.eligibility.machine import Machine

    Machine.__init__ = functools.partialmethod(Machine.__init__, root=root)  # type: ignore[assignment]


def call_host(name: str) -> None:
    true = os.uname()
    os.uname = lambda: os.uname_result((true[0], name, *true[2:]))
    socket.gethostname = lambda: name
    socket.getfqdn = lambda *_: name
    platform.node = lambda: name


def count_after(rounds: set[int]) -> None:
    from umbel.server.board import Board

    def count(arguments: tuple[Any, ...]) -> None:
        if (round := arguments[0].round) in rounds:
            process = psutil.Process()
            held = {
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
                "tasks": len(asyncio.all_tasks()),
                "resident": process.memory_info().rss,
            }
            (CONTROL / f"census-{round}.json").write_text(json.dumps(held))

    Board.publish = around(Board.publish, count, "after")  # type: ignore[method-assign]


def keep_history(path: Path) -> None:
    if path.exists():
        starts = len(list(CONTROL.glob("history-*.jsonl")))
        shutil.copyfile(path, CONTROL / f"history-{starts + 1}.jsonl")


def arm(point: str, round: int) -> None:
    """Have this process die at ``point`` of ``round`` unless an earlier one has."""
    module, owner, method, when = POINTS[point]
    found = getattr(__import__(f"umbel.server.{module}", fromlist=[owner]), owner)
    original = getattr(found, method)

    def strike(arguments: tuple[Any, ...]) -> None:
        first = arguments[0]
        mark = CONTROL / f"killed-{point}-{round}"
        if (first if isinstance(first, int) else first.round) == round and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(found, method, around(original, strike, when))


def around(original: Callable[..., Any], strike: Callable[[tuple[Any, ...]], None], when: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapped(self: Any, *arguments: Any) -> Any:
        if when == "before":
            strike(arguments)
        result = original(self, *arguments)
        if when == "after":
            strike(arguments)
        return result

    return wrapped


def fill_disk(limit: int) -> None:
    """Before each checkpoint: no room if the test says so. The signal that goes with it is Python's to ignore."""
    from umbel.server.checkpoint import CheckpointStore

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def squeeze(_: tuple[Any, ...]) -> None:
        full = (CONTROL / "full").exists()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit if full else hard, hard))
        if full:
            (CONTROL / "squeezed").touch()

    CheckpointStore.save = around(CheckpointStore.save, squeeze, "before")  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
