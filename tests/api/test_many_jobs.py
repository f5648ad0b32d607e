"""Two hundred FederatedJobs applied at once are all made, and then nothing is written any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL

from .hub import Operator, install, manifest, until
from .test_rights import OPERATOR

pytestmark = pytest.mark.api

WRITES = {"create", "update", "patch", "delete"}

JOBS = 200
PATIENCE = 900.0  # for some 3,000 writes on a machine that is busy with other tests
LOOK = 2.0  # seconds between two lists of hundreds
SILOS = ["one", "two", "three"]


def test_two_hundred_at_once_and_then_rest(api: Api, tmp_path: Path) -> None:
    install(api, SILOS)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "many"}}
    jobs = [manifest(f"job-{number}", SILOS, "many") for number in range(JOBS)]
    operator = Operator(api.kubeconfig_for("umbel-system", "umbel-operator"), tmp_path)
    operator.start()
    try:
        listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *jobs]}
        api.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(listed))
        until(lambda: _count(api, "sts", "many") == JOBS, "a server for each", PATIENCE, every=LOOK)
        until(lambda: _count(api, "fc", None) >= JOBS * len(SILOS), "clients for each", PATIENCE, every=LOOK)
        seen = [-1]
        rest = lambda: _same_as_last(seen, _written(api))  # noqa: E731
        until(rest, "rest: nothing written for five seconds", 240, every=5.0)
        for job in jobs:  # kubectl deletes no more than a few a second, or all in one call that may time out
            assert api.client.status("DELETE", f"{UMBEL}/namespaces/many/federatedjobs/{_name(job)}") == 200
        until(lambda: _count(api, "fj", "many") == 0, "all deleted", PATIENCE, every=LOOK)
        assert operator.runs, operator.log()
    finally:
        operator.kill()


def _name(job: dict[str, Any]) -> str:
    return str(job["metadata"]["name"])


def _count(api: Api, kind: str, namespace: str | None) -> int:
    where = ["-n", namespace] if namespace else ["-A"]
    labelled = ["-l", "umbel.dev/job-namespace=many"] if kind != "fj" else []
    return len(api.kubectl("get", kind, *where, *labelled, "-o", "name").split())


def _written(api: Api) -> int:
    """By the operator; its heartbeat apart."""
    writes = (call for call in api.calls(OPERATOR) if call["verb"] in WRITES)
    return sum(call["objectRef"]["resource"] != "leases" for call in writes)


def _same_as_last(seen: list[int], now: int) -> bool:
    same, seen[0] = now == seen[0], now
    return same
