"""The server process of one job: puts the pieces together, runs them, takes them apart.

Order at start: the lock and the epoch, then the model (checkpoint, file or the app's `initial`), then the ports. What
is wrong with the configuration is said before any port is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbel import job as manifest
from umbel.aggregation.release import Floors, Releaser
from umbel.aggregation.round import RoundAggregation
from umbel.aggregation.strategies import create
from umbel.aggregation.strategy import StrategyError
from umbel.job import FederatedJob, JobError
from umbel.rounds import events as ev
from umbel.rounds.engine import Engine
from umbel.server import beginning, endpoints, files, hardening, output, tracing
from umbel.server.beginning import Beginning, BeginningError
from umbel.server.board import Board
from umbel.server.checkpoint import CheckpointError, CheckpointStore
from umbel.server.closing import Closing
from umbel.server.conductor import Conductor
from umbel.server.control import OperatorControl
from umbel.server.history import History
from umbel.server.lock import StateLock, StateLocked
from umbel.server.logs import Log
from umbel.server.metrics import ServerMetrics
from umbel.server.models import ModelStore
from umbel.server.records import RoundRecord
from umbel.server.service import FederationService
from umbel.server.sessions import Sessions
from umbel.server.traffic import Traffic
from umbel.server.uploads import Uploads
from umbel.wire import pki, registry
from umbel.wire.credentials import Credentials
from umbel.wire.layout import LayoutError
from umbel.wire.transport import Limits, Listener, TransportError

COMPLETE, FAILED, MISCONFIGURED, FAULT, STOPPED = 0, 1, 2, 70, 75
USER_ERRORS = (
    JobError,
    StrategyError,
    BeginningError,
    LayoutError,
    StateLocked,
    CheckpointError,
    output.OutputError,
    tracing.TracingMissing,
    TransportError,
    OSError,  # a port in use, a folder that cannot be written
)
LINGER_SECONDS = 60.0  # for silos to store the final model and for the last /status to be read
FLUSH_SECONDS = 60.0
STOP_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Options:
    """As `umbel server` takes them."""

    job: Path
    state: Path
    uid: str
    listen: str
    tls: Path
    admin: str
    http: str
    trust_domain: str
    operator: str | None
    observer: str | None
    endpoints: Path | None
    paths: tuple[str, ...]

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.tls / "tls.crt", self.tls / "tls.key", self.tls / "ca.crt")


def run(options: Options) -> int:
    """The process's exit status. What the user did wrong is one line on standard error."""
    hardening.harden()
    hardening.return_memory()
    sys.path[:0] = options.paths
    try:
        return asyncio.run(_run(options))
    except USER_ERRORS as error:
        print(f"umbel: {error}", file=sys.stderr)
        return MISCONFIGURED
    except Exception:
        # A fault of ours: class and place through the closed log schema, since its text may hold anything.
        logging.getLogger("umbel").exception("fault")
        return FAULT


async def _run(options: Options) -> int:
    job = manifest.resolve(manifest.load(options.job))
    lock = StateLock(options.state)
    try:
        server = await Server.begin(options, job, lock.epoch)
        return await server.serve()
    finally:
        lock.release()


class Server:
    """One process's life after the model is there."""

    def __init__(self, options: Options, job: FederatedJob, epoch: int, start: Beginning, log: Log) -> None:
        self._options = options
        self._job = job
        self._log = log
        self._start = start
        state: dict[str, Any] = start.state
        board_state = state.get("board", {})
        rounds = board_state.get("rounds", [])
        metric_names = [m.name for m in job.spec.metrics if m.name != "loss"]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aggregation")
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="checks")
        self._traffic = Traffic()
        self._traces = tracing.traces(job.metadata.namespace, job.metadata.name, _version(), log)
        self._board = Board(
            job,
            options.uid,
            epoch,
            history=History(options.state / "history.jsonl", rounds),
            metrics=ServerMetrics(job.metadata.namespace, job.metadata.name, metric_names),
            traffic=self._traffic,
            log=log,
            kept=board_state,
            traces=self._traces,
        )
        if start.info is not None:
            self._board.checkpointed(start.info)
        self._sessions = Sessions()
        self._models = ModelStore(start.down, start.model, start.round, self._members)
        self._uploads = Uploads(start.up, self._members)
        pending = state.get("pending")
        self._closing = Closing(
            aggregation=_aggregation(job, start),
            releaser=_releaser(job, rounds),
            models=self._models,
            store=start.store,
            board=self._board,
            traffic=self._traffic,
            thread=self._thread,
            buffered=lambda: self._uploads.bytes_held,
            pending=RoundRecord.from_json(pending) if pending else None,
        )
        silos = frozenset(s.name for s in job.spec.silos)
        engine = Engine(
            job,
            epoch=epoch,
            snapshot=state.get("engine"),
            members=None if options.operator else silos,
            now=time.monotonic(),
        )
        self._conductor = Conductor(job, engine, self._closing, self._sessions, self._uploads, log)
        self._service = FederationService(
            job=job,
            uid=options.uid,
            conductor=self._conductor,
            sessions=self._sessions,
            uploads=self._uploads,
            traffic=self._traffic,
            executor=self._checks,
            layouts=(start.down, start.up),
        )

    @classmethod
    async def begin(cls, options: Options, job: FederatedJob, epoch: int) -> Server:
        """Raises what `run` turns into one line."""
        log = Log()
        log("starting", job=job.metadata.name, namespace=job.metadata.namespace, epoch=epoch, version=_version())
        store = CheckpointStore(options.state / "checkpoints", options.uid, epoch)
        start = await beginning.begin(job, store, list(options.paths))
        if start.info is not None:
            log("resumed", round=start.round, skipped_checkpoints=len(start.skipped))
        hardening.keep_memory()
        log("initial_model", tensors=len(start.down.tensors), bytes=start.down.nbytes)
        return cls(options, job, epoch, start, log)

    @property
    def _members(self) -> int:
        return max(1, len(self._job.spec.silos))

    # ---- life

    async def serve(self) -> int:
        if self._start.info is None:
            await self._closing.first_checkpoint(self._conductor.engine.snapshot())
        await self._models.publish(self._start.round)
        listener, admin, plain = await self._listen()
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number, stopping)
        helpers = [asyncio.create_task(self._uploads.police()), asyncio.create_task(self._flush())]
        rounds = asyncio.create_task(self._rounds())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([rounds, stop], return_when=asyncio.FIRST_COMPLETED)
            if not rounds.done():
                return STOPPED
            rounds.result()
            return COMPLETE if self._conductor.view().phase == "Complete" else FAILED
        finally:
            for task in (*helpers, rounds, stop):
                task.cancel()
            await asyncio.gather(*helpers, rounds, stop, return_exceptions=True)
            self._sessions.end_all()
            await listener.stop(STOP_GRACE_SECONDS)
            await admin.stop()
            await plain.stop()
            self._thread.shutdown()
            self._checks.shutdown()
            await asyncio.to_thread(self._traces.close)

    async def _rounds(self) -> None:
        await self._conductor.run()
        await self._export()
        await self._linger()

    async def _linger(self) -> None:
        """Until everybody connected has the final model and the end has been read, at most `LINGER_SECONDS`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                if self._options.operator or self._options.observer:
                    await self._board.ended_was_read.wait()
                while self._sessions.waiting_for_model():
                    self._sessions.changed.clear()
                    await self._sessions.changed.wait()

    async def _export(self) -> None:
        uri = self._board.output_uri
        if not uri or self._conductor.view().phase != "Complete":
            return
        try:
            await asyncio.to_thread(output.export, self._board.model_path, uri)
            self._board.output_written()
        except output.OutputError as error:
            self._board.output_failed(str(error))

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._conductor.view().phase in ("Gathering", "Suspended", "Complete", "Failed"):
                self._board.flush(self._uploads.bytes_held)

    def _exposition(self) -> bytes:
        try:
            own = pki.expires_at(self._options.credentials.certificate)
        except (OSError, ValueError):  # being renewed
            own = None
        return self._board.exposition(self._conductor.view(), self._sessions.earliest_expiry(), own)

    def _stop(self, number: int, stopping: asyncio.Event) -> None:
        self._log("stopping", signal=signal.Signals(number).name)
        stopping.set()

    # ---- ports

    async def _listen(self) -> tuple[Listener, endpoints.Endpoint, endpoints.Endpoint]:
        options, conductor = self._options, self._conductor
        limits = Limits(
            self._members, self._start.up.nbytes, options.trust_domain, self._job.spec.rounds.timeout_seconds
        )
        control = OperatorControl(conductor, self._board, self._log)
        transport = registry.transport_for(options.listen)
        plain = await endpoints.serve_plain(options.http, self._exposition)
        admin = await endpoints.serve_admin(
            options.admin, options.credentials, control, operator=options.operator, observer=options.observer
        )
        listener = await transport.listen(options.listen, self._service, options.credentials, limits)
        addresses = {
            "federation": listener.address,
            "admin": f"https://{admin.address}",
            "http": f"http://{plain.address}",
        }
        self._log("ready", **addresses)
        if options.endpoints:
            body = {**addresses, "pid": os.getpid(), "epoch": conductor.engine.epoch}
            files.replace(options.endpoints, json.dumps(body).encode())
        conductor.feed(ev.Tick())
        return listener, admin, plain


def _aggregation(job: FederatedJob, start: Beginning) -> RoundAggregation:
    """Raises StrategyError."""
    rule, rounds = job.spec.strategy, job.spec.rounds
    forced = {"partialUpdates": str(rounds.partial_updates), "selection": str(rounds.selection)}
    strategy = create(rule.name, rule.parameters, str(rule.weighting), rounds=forced)
    strategy.restore(start.strategy_state)
    rescale = rounds.rescale_cap if rounds.partial_updates == "Rescale" else 1.0
    return RoundAggregation(start.down, start.up, strategy, max_abs=job.spec.limits.max_abs, largest_rescale=rescale)


def _releaser(job: FederatedJob, rounds: list[dict[str, Any]]) -> Releaser:
    """``rounds``: the records that an earlier process released."""
    ranges = {m.name: (m.min, m.max) for m in job.spec.metrics}
    made = Releaser(ranges, Floors(job.spec.privacy.min_cohort, job.spec.privacy.min_examples))
    for record in rounds:
        made.remember("evaluate", record["round"], record["evaluate"])
        made.remember("train", record["round"], record["train"])
    return made


def _version() -> str:
    from importlib.metadata import version

    return version("umbel")
