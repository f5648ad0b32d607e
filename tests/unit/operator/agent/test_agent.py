"""The agent at work: a hub and a silo in memory, real workers between them."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.operator.agent.silo import NAME, RUNNING, World, federated_client, pod, site_file
from unit.operator.agent.test_credentials import token, write

from umbel_operator import kube, logs
from umbel_operator.access import Access, kubeconfig
from umbel_operator.agent import agent as agent_module
from umbel_operator.agent import worker
from umbel_operator.agent.agent import Agent, Identity
from umbel_operator.agent.approvals.desk import Desk
from umbel_operator.agent.audit import Audit
from umbel_operator.agent.backends.base import Trouble
from umbel_operator.agent.credentials import HubCredentials, Tokens, TokenStore
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import Holding
from umbel_operator.agent.join import Removed
from umbel_operator.agent.metrics import STATES, Metrics, state
from umbel_operator.agent.plan import Plan
from umbel_operator.agent.site import Site
from umbel_operator.agent.worker import Context

Object = dict[str, Any]


class Hub:
    """What the agent calls of Kube."""

    def __init__(self) -> None:
        self.clients: dict[str, Object] = {}
        self.events: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self.leases: list[Object] = []
        self.version = 1
        self.statuses = 0
        self.fault: kube.ApiError | None = None
        self.access = Access("https://hub.example.org", token=None)

    async def request(self, method: str, path: str, *, body: Object) -> Object:
        self._check()
        assert (method, path) == (
            "POST",
            "/api/v1/namespaces/umbel-silo-hospital-a/serviceaccounts/umbel-agent/token",
        )
        assert body["spec"] == {"expirationSeconds": 86_400}
        return {"status": {"token": token(time.time())}}

    def put(self, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        known = obj["metadata"]["name"] in self.clients
        self.clients[obj["metadata"]["name"]] = obj
        self.events.put_nowait(("MODIFIED" if known else "ADDED", copy.deepcopy(obj)))

    def remove(self, name: str) -> None:
        self.events.put_nowait(("DELETED", self.clients.pop(name)))

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[tuple[str, Object]]:
        for obj in list(self.clients.values()):
            yield "ADDED", copy.deepcopy(obj)
        while not self.events.empty():
            self.events.get_nowait()
        yield "SYNCED", {}
        while True:
            yield await self.events.get()

    async def list(self, *_: Any, **__: Any) -> list[Object]:
        self._check()
        return list(self.clients.values())

    async def apply(self, obj: Object, *, manager: str) -> Object:
        self._check()
        self.leases.append(obj)
        return obj

    async def apply_status(self, obj: Object, *, manager: str) -> Object:
        self._check()
        stored = self.clients.get(obj["metadata"]["name"])
        if stored is None:
            raise kube.ApiError(404, "NotFound", "gone")
        self.statuses += 1
        self.put({**stored, "metadata": dict(stored["metadata"]), "status": obj["status"]})
        return copy.deepcopy(self.clients[obj["metadata"]["name"]])

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault


class Silo:
    """A backend over a World: what is known there is known by one FederatedClient's name only."""

    name = "memory"

    def __init__(self, world: World) -> None:
        self.world = world
        self.trouble: Trouble | None = None
        self.observed = 0
        self.changed: Callable[[str], None] | None = None

    async def observe(self, name: str, client: FederatedClient | None, site: Site) -> Holding:
        await asyncio.sleep(0)
        self.observed += 1
        if self.trouble is not None:
            raise self.trouble
        return self.world.holding(client)

    async def execute(self, plan: Plan) -> None:
        for action in plan.actions:
            self.world.do(action)

    async def known(self) -> list[str]:
        if self.trouble is not None:
            raise self.trouble
        return [NAME] if self.world.objects else []

    async def watch(self, changed: Callable[[str], None]) -> None:
        self.changed = changed
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, site_file(retainState=False))


@asynccontextmanager
async def at_work(hub: Hub, silo: Silo, tmp_path: Path, tokens: Tokens | None = None) -> AsyncIterator[Agent]:
    context = Context(hub, silo, silo.world.site, Desk(None, Audit(lambda _: None)), Metrics("1"))  # type: ignore[arg-type]
    held = HubCredentials(tmp_path / "hub.kubeconfig")
    whole = Agent(context, Identity("umbel-silo-hospital-a", "me", "1"), tokens or TokenStore(held))
    task = asyncio.create_task(whole.run())
    try:
        yield whole
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        held.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for belongs to the code under test
            await asyncio.sleep(0.002)


def said(hub: Hub, type_: str, name: str = NAME) -> str:
    conditions = hub.clients[name].get("status", {}).get("conditions") or []
    return next((str(entry["reason"]) for entry in conditions if entry["type"] == type_), "")


def signed(hub: Hub, world: World) -> None:
    """As the hub operator."""
    world.fc = copy.deepcopy(hub.clients[NAME])
    world.sign()
    hub.put(world.fc)


async def test_a_life_from_the_first_sight_to_nothing_left(world: World, tmp_path: Path) -> None:
    world.now = time.time()
    hub, silo = Hub(), Silo(world)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path) as whole:
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")
        signed(hub, world)
        await until(lambda: said(hub, "Ready") == "Pending")
        world.pods = [pod(state=RUNNING)]
        assert silo.changed is not None
        silo.changed(NAME)
        await until(lambda: said(hub, "Ready") == "Running")
        whole.count()
        assert b'fl_agent_clients{state="Running"} 1.0' in whole._context.metrics.text()
        assert NAME.encode() not in whole._context.metrics.text()
        world.pods = []
        hub.remove(NAME)
        await until(lambda: not world.objects and not whole._workers)
        assert whole.healthy()
    assert hub.leases[0]["metadata"]["name"] == "umbel-agent"
    assert json.loads(hub.leases[0]["metadata"]["annotations"]["umbel.dev/agent"])["datasets"] == ["chest-ct", "named"]


class Overtaken(Hub):
    """Of an edit the watch tells when an answer of the agent's is newer, and has it in it."""

    edited = False

    async def apply_status(self, obj: Object, *, manager: str) -> Object:
        if not self.edited:
            self.clients[obj["metadata"]["name"]]["metadata"]["generation"] += 1
            self.edited = True
        return await super().apply_status(obj, manager=manager)


async def test_an_edit_is_seen_that_was_overtaken_by_what_the_agent_wrote(world: World, tmp_path: Path) -> None:
    world.now = time.time()
    hub, silo = Overtaken(), Silo(world)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: hub.clients[NAME].get("status", {}).get("observedGeneration") == 2)
    assert hub.clients[NAME]["metadata"]["generation"] == 2


async def test_at_rest_it_neither_writes_nor_looks(world: World, tmp_path: Path) -> None:
    hub, silo = Hub(), Silo(world)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")
        await asyncio.sleep(0.1)
        looked, wrote = silo.observed, hub.statuses
        hub.put(copy.deepcopy(hub.clients[NAME]))
        await until(lambda: silo.observed == looked + 1)
        await asyncio.sleep(0.1)
        assert (silo.observed, hub.statuses) == (looked + 1, wrote)
        assert wrote == 1


async def test_another_agent_finds_what_is_there_and_writes_nothing(world: World, tmp_path: Path) -> None:
    world.now = time.time()
    hub, silo = Hub(), Silo(world)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")
        signed(hub, world)
        await until(lambda: said(hub, "Ready") == "Pending")
    before, wrote = copy.deepcopy(world.objects), hub.statuses
    async with at_work(hub, silo, tmp_path):
        looked = silo.observed
        await until(lambda: silo.observed > looked)
        await asyncio.sleep(0.05)
    assert world.objects == before
    assert hub.statuses == wrote


async def test_what_has_lost_its_federatedclient_while_nobody_looked_is_removed(world: World, tmp_path: Path) -> None:
    world.settle()
    assert world.objects
    hub, silo = Hub(), Silo(world)
    async with at_work(hub, silo, tmp_path) as whole:
        await until(lambda: not world.objects and not whole._workers)


async def test_nothing_is_removed_on_an_error(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "SWEEP_SECONDS", 0.01)
    hub, silo = Hub(), Silo(world)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")
        hub.clients.clear()
        hub.fault = kube.ApiError(503, "ServiceUnavailable", "no")
        await asyncio.sleep(0.1)
        assert world.objects
        hub.fault = None
        await until(lambda: not world.objects)


async def test_a_silo_in_trouble_is_said_so_and_recovers(world: World, tmp_path: Path) -> None:
    hub, silo = Hub(), Silo(world)
    words = "the silo's cluster does not answer its agent"
    silo.trouble = Trouble("SiloUnreachable", words, temporary=True, patience=0.0)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: said(hub, "Ready") == "SiloUnreachable")
        silo.trouble = None
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")


async def test_trouble_that_passes_soon_is_not_said(world: World, tmp_path: Path) -> None:
    hub, silo = Hub(), Silo(world)
    silo.trouble = Trouble("SiloUnreachable", "no answer", temporary=True)
    hub.put(federated_client())
    async with at_work(hub, silo, tmp_path):
        await until(lambda: silo.observed)
        await asyncio.sleep(0.05)
        assert hub.statuses == 0


@pytest.mark.parametrize(("age", "renewed"), [(11, False), (13, True), (30, True)])
async def test_a_token_is_renewed_at_half_of_its_life(world: World, tmp_path: Path, age: float, renewed: bool) -> None:
    hub, silo = Hub(), Silo(world)
    old = token(time.time() - age * 3600)
    write(tmp_path / "hub.kubeconfig", old)
    hub.access = kubeconfig(tmp_path / "hub.kubeconfig")
    async with at_work(hub, silo, tmp_path):
        await until(lambda: hub.leases)
        await asyncio.sleep(0.05)
    assert (kubeconfig(tmp_path / "hub.kubeconfig").token != old) == renewed


async def test_a_hub_that_refuses_the_token_is_said_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub, silo = Hub(), Silo(world)
    hub.fault = kube.ApiError(401, "Unauthorized", "no")
    with caplog.at_level(logging.INFO, logger="umbel.agent"):
        async with at_work(hub, silo, tmp_path):
            await until(lambda: "umbel silo add" in caplog.text)
            await asyncio.sleep(0.05)
    assert caplog.text.count("umbel silo add") == 1


class JoinService:
    """What the hub says when it is asked for another token."""

    refused = "asked"
    asks_when_refused = True

    def __init__(self, hub: Hub, *, removed: bool) -> None:
        self._hub = hub
        self._removed = removed
        self.asked = 0
        self.left = False

    async def renew(self, hub: Any, namespace: str) -> None:
        self.asked += 1
        if self._removed:
            raise Removed("the silo was removed from the hub")
        self._hub.fault = None

    async def leave(self) -> None:
        self.left = True


async def test_a_silo_that_joined_and_is_refused_asks_at_once_and_once(world: World, tmp_path: Path) -> None:
    hub, silo = Hub(), Silo(world)
    hub.fault = kube.ApiError(401, "Unauthorized", "no")
    service = JoinService(hub, removed=False)
    async with at_work(hub, silo, tmp_path, service):
        await until(lambda: hub.leases)
        await asyncio.sleep(0.1)
        assert service.asked == 1


async def test_a_silo_that_was_removed_leaves_nothing_and_its_agent_ends(world: World, tmp_path: Path) -> None:
    hub, silo = Hub(), Silo(world)
    hub.put(federated_client())
    service = JoinService(hub, removed=True)
    async with at_work(hub, silo, tmp_path, service) as whole:
        await until(lambda: said(hub, "Ready") == "WaitingForCertificate")
        assert world.objects
        whole._ask.set()
        await until(lambda: service.left)
        assert not world.objects


async def test_one_that_this_version_does_not_understand_is_said_so_and_does_not_run(
    world: World, tmp_path: Path
) -> None:
    """Whoever could make his client unreadable would have it run for ever: policy and clock are of what is read."""
    hub, silo = Hub(), Silo(world)
    world.settle()
    world.sign()
    world.settle()
    assert world.replicas == 1
    strange = copy.deepcopy(world.fc)
    strange["spec"]["job"]["uid"] = "../../../x"
    hub.put(strange)
    async with at_work(hub, silo, tmp_path):
        await until(lambda: said(hub, "Accepted") == "InvalidSpec")
        assert world.kinds() == ["PersistentVolumeClaim"], "its state stays"
        hub.put(copy.deepcopy(world.fc))
        await until(lambda: said(hub, "Accepted") == "PolicyAllows" and "Secret" in world.kinds())


@pytest.mark.parametrize("name", ["a.b", "a" * 64, "a,b=c", "../../x"])
async def test_nothing_is_looked_for_under_a_name_that_cannot_be_one_here(
    world: World, tmp_path: Path, name: str
) -> None:
    hub, silo = Hub(), Silo(world)
    strange = federated_client()
    strange["metadata"]["name"] = name
    hub.put(strange)
    async with at_work(hub, silo, tmp_path) as whole:
        await until(lambda: said(hub, "Accepted", name) == "InvalidSpec")
        hub.remove(name)
        await until(lambda: not whole._workers)
        assert silo.observed == 0


def test_every_state_is_one_of_those_declared() -> None:
    for ready in ("True", "False", "Unknown", ""):
        for reason in ("", "Pending", "Suspended", "Finished", "OOMKilled"):
            for accepted in ("True", "False", ""):
                assert state(ready, reason, accepted) in STATES


def test_a_log_line_is_json_with_known_fields_only() -> None:
    record = logging.LogRecord("umbel.agent", logging.INFO, "", 0, "applied", None, None)
    record.fields = {"kind": "Secret"}
    line = json.loads(logs.JsonLines().format(record))
    assert line["event"] == "applied"
    assert line["kind"] == "Secret"
    with pytest.raises(ValueError, match="no field of the log: token"):
        logs.info("x", token="secret")
