"""The supervisor of a run: keeps the server and one client a silo alive until the job has ended.

What to do about a process that ended is decided in `restarts`; here are only the effects. The job's own outcome is
the server's word (its exit code and last status), except when too few silos are left to ever reach the quorum.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from umbel.cli.running import port as ports
from umbel.cli.running import processes
from umbel.cli.running.identities import Identities
from umbel.cli.running.processes import Commands
from umbel.cli.running.progress import Presenter
from umbel.cli.running.restarts import Again, Done, GaveUp, Restarts, shortfall
from umbel.cli.running.status import Status, StatusReader, read_endpoints

POLL_SECONDS = 0.2
STORE_SECONDS = 30.0  # for clients to store the final model once the server has ended
STOP_SECONDS = 15.0  # between TERM and KILL
SERVER_DONE = frozenset({0, 1})  # Complete, Failed
CLIENT_DONE = frozenset({0})
TERMINAL = ("Complete", "Failed")  # phases
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: ``outcome`` Complete, Failed, Stopped or Misconfigured (nothing was trained)."""

    outcome: str
    reason: str
    status: Status | None


class Supervisor:
    """``silos``: name -> dataset. ``port``: of the members' endpoint, 0 for any."""

    def __init__(
        self,
        commands: Commands,
        identities: Identities,
        silos: Mapping[str, str],
        *,
        quorum: int,
        port: int,
        presenter: Presenter,
    ) -> None:
        self._commands = commands
        self._identities = identities
        self._silos = silos
        self._quorum = quorum
        self._port = port
        self._presenter = presenter
        self._run = commands.run
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._failed: dict[str, str] = {}
        self._address = ""
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._end: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._status: Status | None = None
        self._reader = StatusReader(identities.observer_credentials, identities.server_name)

    async def run(self) -> Result:
        """Until the job ended or a signal came; nothing that was started is alive afterwards."""
        with ports.reserved(self._port) as self._port:
            return await self._watch()

    async def _watch(self) -> Result:
        loop = asyncio.get_running_loop()
        # What a shell had ignored (nohup, a script's background job) stays ignored.
        heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heard:
            loop.add_signal_handler(number, self._interrupted)
        self._run.endpoints.unlink(missing_ok=True)
        due = self._identities.issue()
        watchers = [asyncio.create_task(self._poll()), asyncio.create_task(self._renew(due))]
        server = asyncio.create_task(self._keep_server())
        clients = [asyncio.create_task(self._keep_client(name)) for name in self._silos]
        try:
            await self._until_ended([*watchers, server, *clients])
            if self._end.result()[0] in ("Complete", "Failed") and server.done() and self._ready.is_set():
                await asyncio.wait(clients, timeout=STORE_SECONDS)
        finally:
            await self._stop([server, *clients])
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            for number in heard:
                loop.remove_signal_handler(number)
        outcome, reason = self._end.result()
        return Result(outcome, reason, self._status)

    async def _until_ended(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the end, or raise what broke one of the supervisor's own tasks."""
        waiting: set[asyncio.Future[object]] = {self._end, *tasks}  # type: ignore[arg-type]
        while not self._end.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def _settle(self, outcome: str, reason: str = "") -> None:
        if not self._end.done():
            self._end.set_result((outcome, reason))

    def _interrupted(self) -> None:
        if self._stopping.is_set():  # asked a second time: at once
            self._signal(signal.SIGKILL)
        self._settle("Stopped")

    async def _keep_server(self) -> None:
        restarts = Restarts(SERVER_DONE)
        code, ended = await self._keep(
            "server", restarts, lambda: self._commands.server(self._port), self._run.server_log
        )
        status = self._status
        last = processes.last_line(self._run.server_log).removeprefix("umbel: ")
        if isinstance(ended, Done) and code == 0:
            self._settle("Complete", status.reason if status else "")
        elif isinstance(ended, Done):
            told = f"{status.reason}: {status.message}".strip(": ") if status else ""
            self._settle("Failed", told or last)
        elif isinstance(ended, GaveUp) and ended.misconfigured:
            self._settle("Misconfigured", last or ended.reason)
        elif isinstance(ended, GaveUp):
            self._settle("Failed", f"ServerLost: the server {ended.reason} (see {self._run.server_log})")

    async def _keep_client(self, name: str) -> None:
        await self._ready.wait()
        log, dataset = self._run.client_log(name), self._silos[name]
        _, ended = await self._keep(
            name, Restarts(CLIENT_DONE), lambda: self._commands.silo(name, dataset, self._address), log
        )
        if not isinstance(ended, GaveUp):
            return
        said = processes.last_line(log).removeprefix("umbel: ") if ended.misconfigured else ""
        self._failed[name] = f"{ended.reason}: {said}" if said else ended.reason
        self._presenter.note(f"{name} is Failed: it {self._failed[name]} (see {log})")
        over = self._status is not None and self._status.phase in TERMINAL  # then the server's word holds
        if not over and (reason := shortfall(len(self._silos), self._failed, self._quorum)):
            self._settle("Failed", reason)

    async def _keep(
        self, name: str, restarts: Restarts, command: Callable[[], list[str]], log: Path
    ) -> tuple[int, Done | GaveUp | None]:
        """Run one process, again and again as `Restarts` says; None when the supervisor stops it."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            process = await processes.start(command(), log)
            restarts.started(loop.time())
            self._running[name] = process
            if self._stopping.is_set():  # it was asked to stop while the process was being made
                process.terminate()
            code = await process.wait()
            del self._running[name]
            if self._stopping.is_set():
                return code, None
            decision = restarts.ended(code, loop.time())
            if not isinstance(decision, Again):
                return code, decision
            pause = decision.at - loop.time()
            self._presenter.note(f"{name} {decision.why}; it is started again in {pause:.0f} s (see {log})")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        return 0, None

    async def _poll(self) -> None:
        reader, admin = self._reader, ""
        try:
            while True:
                server, found = self._running.get("server"), read_endpoints(self._run.endpoints)
                if server is not None and found is not None and found.pid == server.pid:
                    if found.admin != admin:
                        await reader.close()
                        admin = found.admin
                        self._heard_of(found.federation)
                    if status := await reader.read(admin):
                        self._status = status
                        self._presenter.show(status)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await reader.close()

    def _heard_of(self, address: str) -> None:
        """A server is ready. Its port stays the same when it is started again: clients know no other."""
        self._address = address
        self._port = urlsplit(address).port or 0
        self._ready.set()

    async def _renew(self, due: float) -> None:
        while True:
            # Short naps: a suspended laptop's monotonic clock stands still while certificates age.
            await asyncio.sleep(min(60.0, max(0.0, due - time.time())))
            if time.time() >= due:
                due = self._identities.issue()
                await self._reader.close()

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """TERM to everybody alive, KILL to who has not ended in time; waits for all."""
        self._stopping.set()
        if not self._ready.is_set():
            for task in tasks[1:]:
                task.cancel()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if late:
            self._signal(signal.SIGKILL)
            await asyncio.wait(late)

    def _signal(self, number: signal.Signals) -> None:
        for process in list(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(process.pid, number)  # with whatever user code has started
                else:
                    process.send_signal(number)
