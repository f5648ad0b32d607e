"""A job's server, played: there is no node to run it. Its admin port is the server's own, with its certificate and at
its Service's address; only what it tells of its rounds is made up."""

from __future__ import annotations

import asyncio
import selectors
import tempfile
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL

from umbel.server.endpoints import serve_admin
from umbel.wire.credentials import Credentials
from umbel.wire.pki import operator_id

from .hub import until

Comes = Callable[[Callable[[], Any], str], object]

DEFAULT = "/api/v1/namespaces/default"
STARTED = 1_800_000_000.0


def record(number: int, silos: int) -> dict[str, Any]:
    """A committed round, as `/status` has it."""
    whole = {"round": number, "attempt": 1, "outcome": "Committed", "reason": "", "started": STARTED + number}
    counts = {**dict.fromkeys(("partial", "declined", "timedOut", "lost"), 0), "rejected": {}}
    sums = {"examples": 400, "updateNorm": 0.5, "train": {"loss": 0.25}, "evaluate": {}, "withheld": {}}
    sent = {"seconds": {"train": 1.5}, "bytesUp": 9, "bytesDown": 8}
    return {**whole, "invited": silos, "full": silos, **counts, **sums, **sent}


@contextmanager
def playing(api: Api, job: str, *, epoch: int, rounds: int, silos: int, pod: Comes = until) -> Iterator[Played]:
    """From when its pod is there, which is waited for by ``pod``; ``rounds`` were committed before."""
    pod(lambda: api.client.find(f"{DEFAULT}/pods/{job}-server-0"), "the server's pod")
    with tempfile.TemporaryDirectory() as folder:
        server = Played(api, job, epoch, rounds, silos, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Played:
    """``members``, ``total``: what it was told last."""

    def __init__(self, api: Api, job: str, epoch: int, rounds: int, silos: int, folder: Path) -> None:
        self._api, self._job, self._silos = api, job, silos
        self._uid = _found(api, f"{UMBEL}/namespaces/default/federatedjobs/{job}")["metadata"]["uid"]
        self._epoch = epoch
        self._rounds = rounds
        self._phase = "Training"
        self.told: Callable[[], None] = lambda: None  # called once, when it was, and before its caller hears so
        self.members: frozenset[str] = frozenset()
        self.total = 0
        self._files = self._credentials(folder)
        self._stop: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    # ---- what happens to it

    def start(self) -> None:
        """Its container runs."""
        self._thread.start()
        assert self._ready.wait(20)
        running = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
        self._tell_pod(running, ready=True)

    def commits(self) -> None:
        self._rounds += 1

    def completes(self) -> None:
        self._phase = "Complete"

    def ends(self) -> None:
        """Its process, by itself."""
        self.stop()
        at = "2027-01-15T09:00:00Z"
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at}
        self._tell_pod({"terminated": ended}, ready=False)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._stop()
            self._thread.join(20)

    # ---- as the operator finds it

    def status(self) -> dict[str, Any]:
        history = [record(number, self._silos) for number in range(1, self._rounds + 1)]
        model = {"round": self._rounds, "digest": "sha256:0", "path": "/state/job/model"} if history else {}
        said = {"reason": "", "message": "", "history": history, "metrics": {}, "model": model, "output": None}
        return {"uid": self._uid, "epoch": self._epoch, "phase": self._phase, **said}

    def set_members(self, silos: frozenset[str]) -> None:
        self.members = silos
        told, self.told = self.told, lambda: None
        told()

    def set_total(self, total: int) -> None:
        self.total = total

    def set_queued(self, silos: frozenset[str]) -> None: ...
    def set_cohort(self, updates: int, quorum: int) -> None: ...
    def set_deadline(self, seconds: float) -> None: ...
    def set_output(self, uri: str) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self, message: str) -> None: ...

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(self._serve(selector))

    async def _serve(self, selector: selectors.BaseSelector) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        host = _found(self._api, f"{DEFAULT}/services/{self._job}-admin")["spec"]["clusterIP"]
        caller = operator_id("umbel.local")
        endpoint = await serve_admin(f"{host}:9443", self._files, self, operator=caller, observer=None)
        self._ready.set()
        await stop.wait()
        await endpoint.stop()
        # TLS has both sides say goodbye; a loop that ends before leaves the socket open. One file is the loop's own.
        while len(selector.get_map()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def _tell_pod(self, state: dict[str, Any], *, ready: bool) -> None:
        """It is in phase Running to the end: its container would be started again."""
        container = {"name": "server", "image": "it", "imageID": "", "ready": ready, "restartCount": 0, "state": state}
        condition = {"type": "Ready", "status": str(ready)}
        body = {"status": {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}}
        assert self._api.client.status("PATCH", f"{DEFAULT}/pods/{self._job}-server-0/status", body) == 200

    def _credentials(self, folder: Path) -> Credentials:
        secret = _found(self._api, f"{DEFAULT}/secrets/{self._job}-server-tls")
        for name, text in secret["data"].items():
            (folder / name).write_bytes(b64decode(text))
        return Credentials(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")


def _found(api: Api, path: str) -> dict[str, Any]:
    found = api.client.find(path)
    assert found is not None, path
    return found
