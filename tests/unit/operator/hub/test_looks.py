"""How often a job is looked at though nothing is heard of it, and what of that asks for a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

import pytest

from umbel_operator import names
from umbel_operator.hub import loop, reasons
from umbel_operator.hub.attention import ADDRESS_SECONDS, LOOK_SECONDS, POD_SECONDS, Need
from umbel_operator.hub.kept import kept
from umbel_operator.hub.loop import JobLoop
from umbel_operator.hub.observed import Key, Object, Observed, key
from umbel_operator.hub.plan import REST_SECONDS, Plan

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a-server", "namespace": "default", "annotations": {names.DIGEST: "0"}},
    "data": {"job.json": "{}"},
}
CLIENT = {
    "apiVersion": "umbel.dev/v1alpha1",
    "kind": "FederatedClient",
    "metadata": {"name": "a", "namespace": "umbel-silo-a", "annotations": {names.DIGEST: "0"}},
    "spec": {"silo": "a"},
    "status": {},
}


class Watched(JobLoop):
    """Of a job with all that it is to have; ``pod`` is its server's. What is heard, is nothing, and time passes as it
    is waited for; ``looks`` and ``decisions`` are counted, and each look takes ``slow`` seconds."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, pod: Object | None, reason: str = "", slow: float = 0.0, **spec: Any
    ) -> None:
        meta = {"name": "a", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": "1"}
        said = [{"type": reasons.PROGRESSING, "status": "True", "reason": reason}]
        authority = SimpleNamespace(certificates=lambda *_: ({}, {}), tls=lambda *_: None, bundle="")
        parts = SimpleNamespace(
            turns=asyncio.Semaphore(1),
            polled=set(),
            settings=None,
            silos=SimpleNamespace(silos={}),
            clients=SimpleNamespace(of=lambda _: frozenset({("umbel-silo-a", "a")})),
            authority=authority,
            eyes=SimpleNamespace(look=self._answer),
            hands=SimpleNamespace(execute=self._execute),
        )
        super().__init__({"metadata": meta, "spec": spec, "status": {"conditions": said}}, parts)
        self.pod, self.slow, self.now, self.looks, self.decisions = pod, slow, 1000.0, 0, 0
        clock = lambda: self.now  # noqa: E731
        monkeypatch.setattr(loop, "time", SimpleNamespace(time=clock, monotonic=clock))
        monkeypatch.setattr(loop, "reconcile", self._reconcile)

    async def _answer(self, _: Object, before: Observed, need: Need, __: Any, applied: Container[Key]) -> Observed:
        self.looks += 1
        self.now += self.slow
        read = lambda live: kept(live, key(live) not in applied)  # noqa: E731
        objects = {key(CONFIG): read(CONFIG)} if need.objects else before.objects
        clients = {"a": read(CLIENT)} if need.clients is None else before.clients
        pod = before.pod if not need.pod else None if self.pod is None else dict(self.pod)
        return Observed(objects, pod, clients=clients)

    async def _execute(self, obj: Object, *_: Any) -> Object:
        return obj

    def _reconcile(self, *_: Any) -> Plan:
        self.decisions += 1
        return Plan(again=REST_SECONDS, settled=(key(CONFIG), key(CLIENT)))

    async def _is_woken(self, seconds: float) -> bool:
        self.now += seconds
        return False

    async def passes(self, seconds: float) -> tuple[int, int]:
        """(looks, decisions) in so long."""
        before, end = (self.looks, self.decisions), self.now + seconds
        while (after := await self._once()) + self.now < end:
            await self._wait(after, 0.0)
        self.now = end
        return self.looks - before[0], self.decisions - before[1]


def server(ready: str, state: str = "waiting", **spec: str) -> Object:
    status = {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [{"state": {state: {}}}]}
    return {"metadata": {}, "spec": spec, "status": status}


NOWHERE, STARTING = server("False"), server("False", nodeName="a")
RUNNING = server("True", "running", nodeName="a")


@pytest.mark.parametrize(
    ("pod", "reason", "every"),
    [
        (STARTING, "", POD_SECONDS),
        (NOWHERE, "", LOOK_SECONDS),
        (RUNNING, "", LOOK_SECONDS),
        (None, "", LOOK_SECONDS),
        (RUNNING, reasons.WAITING_FOR_ENDPOINT, ADDRESS_SECONDS),
        (NOWHERE, reasons.WAITING_FOR_ENDPOINT, ADDRESS_SECONDS),
    ],
)
async def test_what_no_watch_tells_of_is_looked_at_and_decided_upon_only_if_it_is_new(
    monkeypatch: pytest.MonkeyPatch, pod: Object | None, reason: str, every: float
) -> None:
    job = Watched(monkeypatch, pod, reason)
    assert await job.passes(every / 2) == (1, 1)
    assert await job.passes(4 * every) == (4, 0)
    job.pod = {**(pod or STARTING), "changed": True}
    assert (await job.passes(LOOK_SECONDS))[1] == 1
    job.wake()
    assert (await job.passes(0.5))[1] == 1
    assert (await job.passes(REST_SECONDS))[1] == 1, "time alone may ask for something"


@pytest.mark.parametrize("pod", [STARTING, None])
async def test_of_a_suspended_job_only_a_pod_that_has_not_gone_is_looked_after(
    monkeypatch: pytest.MonkeyPatch, pod: Object | None
) -> None:
    """It may be on a node that is silent."""
    job = Watched(monkeypatch, pod, suspend=True)
    looks, decisions = await job.passes(REST_SECONDS / 2)
    assert looks == decisions == (REST_SECONDS / 2 / POD_SECONDS if pod else 1), "nothing of it is kept between them"


async def test_looks_that_take_longer_than_what_is_between_them_leave_time_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Watched(monkeypatch, None, reasons.WAITING_FOR_ENDPOINT, slow=2 * ADDRESS_SECONDS)
    looks, _ = await job.passes(18 * ADDRESS_SECONDS)
    assert looks == 6
