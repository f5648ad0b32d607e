"""Which silos a job has, and that none keeps a FederatedClient when it is over: an operator at a real API server."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL

from umbel.wire.pki import new_request
from umbel_operator import names
from umbel_operator.agent import heartbeat

from .hub import Operator, clients, condition, install, manifest, status, until
from .proxy import Proxy

pytestmark = pytest.mark.api

JOBS = f"{UMBEL}/namespaces/default/federatedjobs"
# The watch by which the operator knows all jobs' clients begins with this; a job's own are asked for by its uid.
BOOK = re.compile(r"GET .*/federatedclients\?.*labelSelector=umbel.dev/job-uid(&|$)")
STAMP = "2027-01-15T08:00:00Z"
LUNG = {"study": "lung"}


def silo(name: str, labels: dict[str, str] | None = None, **spec: Any) -> list[dict[str, Any]]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names.silo_namespace(name)}}
    meta = {"name": name, "labels": labels or {}}
    return [{"apiVersion": "umbel.dev/v1alpha1", "kind": "Silo", "metadata": meta, "spec": spec}, namespace]


def report(name: str, *datasets: str) -> dict[str, Any]:
    """As its agent does."""
    return heartbeat.lease(names.silo_namespace(name), "it", "0.1.0", "process", datasets, time.time())


def apply(api: Api, *objects: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(listed))


def chosen(api: Api, job: str) -> set[str]:
    return {client["spec"]["silo"] for client in clients(api, job)}


def delete(api: Api, job: str) -> None:
    assert api.client.status("DELETE", f"{JOBS}/{job}") == 200


def gone(api: Api, job: str) -> bool:
    return api.client.find(f"{JOBS}/{job}") is None


def installed(api: Api) -> None:
    install(api, [])
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/silos.umbel.dev")


def test_a_selector_takes_those_that_match_and_their_clients_go_with_the_job(
    api: Api, proxy: Proxy, operator: Operator
) -> None:
    """Deleted while the operator is away, and before its watch of FederatedClients has shown anything to the next."""
    installed(api)
    elsewhere = silo("lung-elsewhere", LUNG, allowedNamespaces=["elsewhere"])
    silos = [*silo("lung-1", LUNG), *silo("lung-2", LUNG), *silo("lung-3", LUNG), *silo("lung-no-scans", LUNG)]
    apply(api, *silos, *silo("heart", {"study": "heart"}), *elsewhere)
    reported = {"lung-1": "scans", "lung-2": "scans", "lung-no-scans": "tables", "heart": "scans"}
    apply(api, *(report(name, held) for name, held in {**reported, "lung-elsewhere": "scans"}.items()))
    operator.start()
    selector = {"matchLabels": LUNG, "dataset": "scans"}
    apply(api, manifest("selected", [], siloSelector=selector, rounds={"total": 1, "quorum": 3}))
    too_few = lambda: condition(api, "selected", "Progressing").get("reason") == "TooFewSilos"  # noqa: E731
    until(too_few, "told that there are too few", told=operator.log)
    assert "matches 2 silos with that data set; 3 are needed" in condition(api, "selected", "Progressing")["message"]
    assert not clients(api, "selected")
    apply(api, report("lung-3", "scans", "tables"))
    until(lambda: chosen(api, "selected") == {"lung-1", "lung-2", "lung-3"}, "those", told=operator.log)

    operator.kill()
    delete(api, "selected")
    with proxy.holding(lambda call: BOOK.match(call) is not None):
        operator.start()
        until(lambda: gone(api, "selected"), "deleted", told=operator.log)
        assert proxy.held, "the watch was there before"
        assert not clients(api, "selected")
    assert operator.runs, operator.log()


def test_a_silo_that_does_not_admit_the_namespace_has_no_part(api: Api, operator: Operator) -> None:
    """And the risks of the job's settings are told, once, in an Event."""
    installed(api)
    admitted = ["admits-1", "admits-2", "admits-3"]
    strict = silo("admits-not", allowedNamespaces=["elsewhere"])
    apply(api, *(obj for name in admitted for obj in silo(name)), *strict)
    operator.start()
    apply(api, manifest("admitted", [*admitted, "admits-not"], rounds={"total": 1, "quorum": 4}))
    until(lambda: chosen(api, "admitted") == set(admitted), "clients of the others", told=operator.log)
    said = until(lambda: condition(api, "admitted", "SilosReady"), "told")
    assert (said["status"], said["reason"]) == ("False", "SomeNotReady")
    assert "admits-not: NotAdmitted (it takes no jobs of namespace default)" in said["message"]
    at_risk = condition(api, "admitted", "SettingsAtRisk")
    assert at_risk["status"] == "True"
    assert "spec.rounds.quorum: 4 is every silo" in at_risk["message"]
    events = until(lambda: [e for e in told(api, "admitted") if e["reason"] == "SettingsAtRisk"], "told in an Event")
    assert [(e["type"], e["message"], e["count"]) for e in events] == [("Warning", at_risk["message"], 1)]
    assert api.client.status("PATCH", f"{UMBEL}/silos/admits-not", {"spec": {"allowedNamespaces": ["default"]}}) == 200
    until(lambda: chosen(api, "admitted") == {*admitted, "admits-not"}, "admitted", told=operator.log)
    delete(api, "admitted")
    until(lambda: gone(api, "admitted") and not clients(api, "admitted"), "deleted")


def test_an_older_agent_that_tells_less_takes_part(api: Api, operator: Operator) -> None:
    """Its Lease only beats; of its FederatedClient it knows a request, and one condition. A newer one says more."""
    installed(api)
    apply(api, *(obj for name in ("older", "newer", "absent") for obj in silo(name)))
    beats, newer = report("older"), report("newer", "digits")
    del beats["metadata"]["annotations"]
    newer["metadata"]["annotations"][names.AGENT_REPORT] = '{"datasets":["digits"],"version":"9.0.0","regions":[1]}'
    apply(api, beats, newer)
    operator.start()
    apply(api, manifest("mixed", ["older", "newer", "absent"]))
    until(lambda: len(clients(api, "mixed")) == 3, "made", told=operator.log)
    ready = {"type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": STAMP}
    for client in clients(api, "mixed"):
        if client["spec"]["silo"] != "absent":
            said = {"certificateRequest": new_request()[0].decode(), "conditions": [ready]}
            meta = client["metadata"]
            path = f"{UMBEL}/namespaces/{meta['namespace']}/federatedclients/{meta['name']}/status"
            assert api.client.status("PATCH", path, {"status": said}) == 200
    until(lambda: status(api, "mixed").get("silos", {}).get("ready") == 2, "both ready", told=operator.log)
    assert condition(api, "mixed", "SilosReady")["message"] == "absent: NeverSeen"
    certified = {c["spec"]["silo"] for c in clients(api, "mixed") if c["spec"].get("certificate")}
    assert certified == {"older", "newer"}
    shown = {name: (api.client.find(f"{UMBEL}/silos/{name}") or {})["status"] for name in ("older", "newer")}
    assert [found["conditions"][0]["reason"] for found in shown.values()] == ["AgentAlive", "AgentAlive"]
    assert "datasets" not in shown["older"]
    assert (shown["newer"]["datasets"], shown["newer"]["agentVersion"]) == (["digits"], "9.0.0")
    delete(api, "mixed")
    until(lambda: gone(api, "mixed") and not clients(api, "mixed"), "deleted")


def test_clients_that_nothing_asks_for_any_more_go(api: Api, operator: Operator) -> None:
    """While no hub looked, one job was deleted and its finalizer taken off, as an uninstallation does, and a silo was
    taken out of another."""
    installed(api)
    silos = ["swept-1", "swept-2", "swept-3", "swept-4"]
    apply(api, *(obj for name in silos for obj in silo(name)))
    operator.start()
    apply(api, *(manifest(job, silos) for job in ("swept", "kept")))
    until(lambda: len(clients(api, "swept")) == len(clients(api, "kept")) == 4, "made", told=operator.log)
    operator.kill()
    delete(api, "swept")
    api.kubectl("patch", "fj", "swept", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    until(lambda: gone(api, "swept"), "gone")
    edit(api, "kept", silos=[{"name": name, "dataset": "digits"} for name in silos[:3]])
    assert len(clients(api, "swept")) == len(clients(api, "kept")) == 4
    operator.start()
    until(lambda: not clients(api, "swept"), "swept", told=operator.log)
    until(lambda: chosen(api, "kept") == set(silos[:3]), "taken out", told=operator.log)
    delete(api, "kept")
    until(lambda: gone(api, "kept") and not clients(api, "kept"), "deleted")


def test_the_time_that_a_job_may_be_active_begins_anew_when_it_is_resumed(api: Api, operator: Operator) -> None:
    """Its server cannot be reached: it is the operator that ends it."""
    installed(api)
    apply(api, *(obj for name in ("late-1", "late-2", "late-3") for obj in silo(name)))
    operator.start()
    apply(api, manifest("late", ["late-1", "late-2", "late-3"]))
    until(lambda: "startTime" in status(api, "late") and len(clients(api, "late")) == 3, "begun", told=operator.log)
    began_an_hour_ago(api, "late")
    edit(api, "late", suspend=True)
    until(lambda: condition(api, "late", "Progressing").get("reason") == "Suspended", "suspended", told=operator.log)
    assert "startTime" not in status(api, "late")
    edit(api, "late", suspend=False, activeDeadlineSeconds=1800)
    until(lambda: {c["spec"]["desiredState"] for c in clients(api, "late")} == {"Running"}, "resumed")
    until(lambda: "startTime" in status(api, "late"), "begun anew")
    assert not condition(api, "late", "Failed")
    began_an_hour_ago(api, "late")
    edit(api, "late", activeDeadlineSeconds=1801)
    failed = until(lambda: condition(api, "late", "Failed"), "failed", told=operator.log)
    assert (failed["reason"], failed["message"]) == (
        "DeadlineExceeded",
        "spec.activeDeadlineSeconds (1801) have passed",
    )
    until(lambda: {c["spec"]["desiredState"] for c in clients(api, "late")} == {"Finished"}, "its silos told")
    events = until(lambda: [e for e in told(api, "late") if e["reason"] == "Failed"], "told in an Event")
    assert [(e["type"], e["message"]) for e in events] == [("Warning", failed["message"])]
    delete(api, "late")
    until(lambda: gone(api, "late") and not clients(api, "late"), "deleted")


def told(api: Api, job: str) -> list[dict[str, Any]]:
    found = api.client.listed("/api/v1/namespaces/default/events")
    return [event for event in found if event["involvedObject"]["name"] == job]


def edit(api: Api, job: str, **spec: Any) -> None:
    assert api.client.status("PATCH", f"{JOBS}/{job}", {"spec": spec}) == 200


def began_an_hour_ago(api: Api, job: str) -> None:
    """In the operator's own name: what another says, too, its next status would not take away."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    body = {"apiVersion": "umbel.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": job}}
    said = json.dumps({**body, "status": {**status(api, job), "startTime": began}})
    manner = ("--server-side", "--force-conflicts", f"--field-manager={names.HUB_MANAGER}", "--subresource=status")
    api.kubectl("apply", *manner, "-f", "-", input=said)
