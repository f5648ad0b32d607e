"""The operator is killed at every single write of a job's life; the next one ends where an undisturbed one does.

A read changes nothing, and an operator keeps nothing but memory: one that is killed at a read leaves what one leaves
that is killed after the write before it. So of the reads one of each kind is tried. There is no node here: the job's
server is played (`played.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL

from umbel.wire.pki import new_request
from umbel_operator import names

from .hub import COLLECTED, Operator, clients, install, made, manifest, status, until
from .played import DEFAULT, playing
from .proxy import Cut, Proxy

pytestmark = pytest.mark.api

SILOS = ["one", "two", "three"]
JOBS = f"{UMBEL}/namespaces/default/federatedjobs"
PARTS = 4  # of the writes, each a test of its own: they take minutes


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_write_of_a_jobs_life(api: Api, proxy: Proxy, operator: Operator, part: int) -> None:
    """By turns just before the API server hears of it, and when it has done it."""
    install(api, SILOS)
    operator.start()
    undisturbed = _life(api, operator, "job")
    writes = len(proxy.calls)
    assert writes > 30, proxy.calls
    for number in range(1 + part, writes + 1, PARTS):
        cut = Cut(lambda _, now, at=number: now == at, operator.kill, before=bool(number // PARTS % 2))
        proxy.reset(cut)
        assert _life(api, operator, "job") == undisturbed, f"killed at {number}, {cut.met}"
        assert cut.met or len(proxy.calls) < number, f"this life had {len(proxy.calls)} writes, and none was cut"


READS = {
    "an object": r"GET .*/statefulsets/job-server$",
    "the jobs": r"GET .*/federatedjobs\b",
    "a watch": r"GET .*/federatedclients\?watch=",
    "the clients of a deleted job": r"GET .*/federatedclients\?.*umbel.dev/job-uid(=|%3D)",
}


def test_killed_at_a_read_of_each_kind_and_when_it_has_told_the_server(
    api: Api, proxy: Proxy, operator: Operator
) -> None:
    install(api, SILOS)
    operator.start()
    killed: list[bool] = []
    undisturbed = _life(api, operator, "job", told=lambda: (operator.kill(), killed.append(True))[1])
    assert killed
    for what, asks in READS.items():
        cut = Cut(lambda call, _, asks=asks: re.match(asks, call) is not None, operator.kill)
        operator.kill()  # the next one lists and watches anew
        proxy.reset(cut)
        assert _life(api, operator, "job") == undisturbed, f"killed at {cut.met}"
        assert cut.met, f"{what}: not read"


def _life(api: Api, operator: Operator, name: str, told: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Made, certified, trained for a round, suspended, resumed, completed, deleted; what there was at its height, in
    terms of what was asked for, and how it ended. ``told``: called once, when its server has heard who belongs."""
    keep_alive = lambda: operator.runs or operator.start()  # noqa: E731

    def comes(true: Callable[[], Any], what: str) -> None:
        until(lambda: (keep_alive(), true())[1], what, told=lambda: _story(api, operator, name))

    api.kubectl("apply", "-f", "-", input=json.dumps(manifest(name, SILOS)))

    def settled() -> dict[str, Any] | None:
        keep_alive()
        found = made(api, name)
        for key, obj in found.items():
            if key.startswith("FederatedClient") and not obj.get("status", {}).get("certificateRequest"):
                _ask(api, obj)
        certain = [obj for key, obj in found.items() if key.startswith("FederatedClient")]
        whole = len(found) == 8 + len(SILOS) and all(c["spec"].get("certificate") for c in certain)
        return found if whole and _reason(status(api, name)) == "Starting" else None

    height = until(settled, f"{name} made", told=lambda: _story(api, operator, name))
    with playing(api, name, epoch=1, rounds=0, silos=len(SILOS)) as server:
        server.told = told
        comes(lambda: _reason(status(api, name)) == "Training", "training")
        comes(lambda: (server.members, server.total) == (frozenset(SILOS), 5), "the members told")
        server.commits()
        comes(lambda: status(api, name)["round"]["number"] == 1, "a round")
        _suspend(api, name, True)
        comes(lambda: api.client.find(f"/api/v1/namespaces/default/pods/{name}-server-0") is None, "its pod gone")
    comes(lambda: _reason(status(api, name)) == "Suspended", "suspended")
    comes(lambda: all(_desired(o) == "Suspended" for o in clients(api, name)), "told to the silos")
    _suspend(api, name, False)
    comes(lambda: all(_desired(o) == "Running" for o in clients(api, name)), "resumed")
    with playing(api, name, epoch=2, rounds=1, silos=len(SILOS), pod=comes) as server:
        server.commits()
        comes(lambda: status(api, name)["round"]["number"] == 2, "another round")
        server.completes()
        comes(lambda: _reason(status(api, name)) == "Complete", "complete")
        server.ends()
    comes(lambda: all(_desired(o) == "Finished" for o in clients(api, name)), "the silos told of the end")
    comes(lambda: _volume(api, name).get(names.MODEL), "its model written on the volume")
    comes(lambda: _condition(status(api, name), "ServerReady")["status"] == "False", "its server known to have gone")
    end = _told(status(api, name))
    assert api.client.status("DELETE", f"{JOBS}/{name}") == 200
    comes(lambda: _job(api, name) is None, "deleted")
    collected = lambda: all(key.startswith("PersistentVolumeClaim") for key in made(api, name))  # noqa: E731
    until(collected, "nothing left", COLLECTED, told=lambda: _story(api, operator, name))
    for volume in made(api, name).values():
        api.client.status("DELETE", f"{DEFAULT}/persistentvolumeclaims/{volume['metadata']['name']}")
    return {**{_plain(key): _asked(obj) for key, obj in height.items()}, "end": end}


def _story(api: Api, operator: Operator, name: str) -> str:
    job = api.kubectl("get", "fj", name, "-o", "yaml", "--ignore-not-found")
    return "\n".join((*made(api, name), job, operator.log()[-2000:]))


def _ask(api: Api, client: dict[str, Any]) -> None:
    """As its silo's agent would."""
    request, _ = new_request()
    body = {"status": {"certificateRequest": request.decode(), "conditions": []}}
    meta = client["metadata"]
    path = f"{UMBEL}/namespaces/{meta['namespace']}/federatedclients/{meta['name']}/status"
    assert api.client.status("PATCH", path, body) == 200


def _suspend(api: Api, name: str, on: bool) -> None:
    assert api.client.status("PATCH", f"{JOBS}/{name}", {"spec": {"suspend": on}}) == 200


def _desired(client: dict[str, Any]) -> str:
    return str(client["spec"]["desiredState"])


def _job(api: Api, name: str) -> dict[str, Any] | None:
    return api.client.find(f"{JOBS}/{name}")


def _volume(api: Api, name: str) -> dict[str, str]:
    """The annotations of the model's volume."""
    (volume,) = api.client.listed("/api/v1/persistentvolumeclaims", f"umbel.dev/job={name}")
    return dict(volume["metadata"].get("annotations") or {})


def _told(status: dict[str, Any]) -> dict[str, Any]:
    """Of a status, without times and the name of the volume."""
    conditions = sorted((c["type"], c["status"], c["reason"]) for c in status["conditions"])
    model = {key: value for key, value in status["model"].items() if key != "volume"}
    return {"conditions": conditions, "model": model, **{key: status[key] for key in ("round", "silos", "history")}}


def _reason(status: dict[str, Any]) -> str:
    return str(_condition(status, "Progressing").get("reason", ""))


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions", ()) if c["type"] == type_), {})


def _plain(key: str) -> str:
    """The model volume's name holds the job's uid."""
    return key.split("-model-")[0]


def _asked(obj: dict[str, Any]) -> Any:
    """Without keys and certificates, addresses and uids."""
    if obj["kind"] == "Secret":
        return sorted(obj["data"])
    if obj["kind"] == "FederatedClient":
        return {key: value for key, value in obj["spec"].items() if key not in ("certificate", "job", "server")}
    if obj["kind"] == "Service":
        return obj["spec"]["ports"]
    if obj["kind"] == "StatefulSet":
        return obj["spec"]["replicas"]
    return obj["kind"]


def test_answers_of_an_api_server_in_trouble_are_tried_again(api: Api, proxy: Proxy, operator: Operator) -> None:
    install(api, SILOS)
    operator.start()
    proxy.answers += [("statefulsets", 409), ("federatedclients", 429), ("configmaps", 500), ("status", 410)]
    assert _life(api, operator, "troubled")
    assert not proxy.answers, "each was met"


def test_an_api_server_that_is_restarted(api: Api, proxy: Proxy, operator: Operator) -> None:
    install(api, SILOS)
    operator.start()
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("restarted", SILOS)))
    until(lambda: made(api, "restarted"), "begun")
    api.restart_apiserver()
    until(lambda: len(clients(api, "restarted")) == 3, "made")
    api.kubectl("delete", "fj", "restarted", "--timeout=60s")
    assert operator.runs, operator.log()


def test_watches_that_are_cut_or_too_old_miss_nothing(api: Api, proxy: Proxy, operator: Operator) -> None:
    """Each change is made while nobody watches; certificates, suspension and deletion are heard of all the same."""
    install(api, SILOS)
    operator.start()
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("unwatched", SILOS)))
    until(lambda: len(clients(api, "unwatched")) == 3, "made")

    proxy.too_old = until(proxy.cut_watches, "watches")
    for client in clients(api, "unwatched"):
        _ask(api, client)
    until(lambda: all(c["spec"].get("certificate") for c in clients(api, "unwatched")), "signed", told=operator.log)
    assert proxy.too_old == 0

    until(proxy.cut_watches, "watches again")
    api.kubectl("patch", "fj", "unwatched", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    until(lambda: all(_desired(o) == "Suspended" for o in clients(api, "unwatched")), "suspended")

    until(proxy.cut_watches, "watches again")
    api.kubectl("delete", "fj", "unwatched", "--timeout=60s")
    assert operator.runs, operator.log()


def test_what_an_earlier_job_of_the_name_has_left_gives_way(api: Api, proxy: Proxy, operator: Operator) -> None:
    """It was deleted while no hub looked, and its finalizer taken off, as an uninstallation does."""
    install(api, SILOS)
    operator.start()
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("again", SILOS)))
    until(lambda: len(clients(api, "again")) == 3, "made")
    operator.kill()
    api.kubectl("delete", "fj", "again", "--wait=false")
    api.kubectl("patch", "fj", "again", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    until(lambda: _job(api, "again") is None, "gone")
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("again", SILOS)))
    uid = api.kubectl("get", "fj", "again", "-o", "jsonpath={.metadata.uid}")
    operator.start()
    ours = lambda: [c for c in clients(api, "again") if c["spec"]["job"]["uid"] == uid]  # noqa: E731
    until(lambda: len(ours()) == 3, "made anew", told=operator.log)
    api.kubectl("delete", "fj", "again", "--timeout=60s")


def test_what_was_changed_by_hand_while_no_operator_ran_is_put_right_and_nothing_else_is_written(
    api: Api, proxy: Proxy, operator: Operator
) -> None:
    install(api, SILOS)
    operator.start()
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("changed", SILOS)))
    until(lambda: len(clients(api, "changed")) == 3, "made")
    for client in clients(api, "changed"):
        _ask(api, client)
    until(lambda: all(c["spec"].get("certificate") for c in clients(api, "changed")), "signed", told=operator.log)
    until(lambda: _reason(status(api, "changed")) == "Starting", "starting")
    before = {key: _asked(obj) for key, obj in made(api, "changed").items()}
    operator.kill()

    client = clients(api, "changed")[0]["metadata"]
    edit = ("patch", "fc", client["name"], "-n", client["namespace"], "--type=merge", "-p")
    api.kubectl(*edit, '{"spec":{"desiredState":"Suspended"}}')
    api.kubectl("patch", "sts", "changed-server", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    proxy.reset()
    operator.start()
    until(lambda: {key: _asked(obj) for key, obj in made(api, "changed").items()} == before, "put right")
    patched = [call.split("/")[-1] for call in proxy.calls if "/federatedjobs/" not in call]
    assert sorted(patched) == sorted([client["name"], "changed-server"])
    api.kubectl("delete", "fj", "changed", "--timeout=60s")
