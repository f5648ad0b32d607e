"""Whether a hub is whole: what `helm test` asks of its API. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from umbel_operator.conditions import seconds
from umbel_operator.health import DEAF_SECONDS, HEARTBEAT
from umbel_operator.kube import FEDERATED_CLIENT, FEDERATED_JOB, LEASE, SILO, UMBEL, ApiError, Kube, Object

JOB: Object = {
    "apiVersion": UMBEL,
    "kind": "FederatedJob",
    "metadata": {"name": "umbel-hub-check"},
    "spec": {
        "app": {"image": "registry.local/none", "client": "client:app"},
        "rounds": {"total": 3},
        "silos": [{"name": f"silo-{number}", "dataset": "none"} for number in (1, 2, 3)],
    },
}


async def check(kube: Kube, namespace: str) -> AsyncIterator[tuple[str, str]]:
    """(what was looked at, what is wrong with it, or nothing)."""
    yield "the kinds of the API", await _kinds(kube)
    yield "a job that is right", await _accepts(kube, namespace)
    yield "a job that is wrong", await _refuses(kube, namespace)
    yield "the operator's heartbeat", await _alive(kube, namespace)


async def _kinds(kube: Kube) -> str:
    try:
        served = await kube.request("GET", f"/apis/{UMBEL}")
    except ApiError as error:
        if error.status != 404:
            return f"cannot be read: {error}"
        return f"{UMBEL} is not served; install the CustomResourceDefinitions: crds.enabled, or crds/"
    found = {resource["name"] for resource in served["resources"]}
    missing = [kind.plural for kind in (FEDERATED_JOB, FEDERATED_CLIENT, SILO) if kind.plural not in found]
    return f"{', '.join(missing)} are not served; apply all of crds/" if missing else ""


async def _accepts(kube: Kube, namespace: str) -> str:
    try:
        await _try(kube, namespace, JOB)
    except ApiError as error:
        return f"was refused: {error}"
    return ""


async def _refuses(kube: Kube, namespace: str) -> str:
    wrong = {**JOB, "spec": {**JOB["spec"], "rounds": {"total": -1}}}
    try:
        await _try(kube, namespace, wrong)
    except ApiError as error:
        return "" if error.status == 422 else f"was refused for another reason: {error}"
    return "was accepted: the CustomResourceDefinitions are not those of this version"


async def _try(kube: Kube, namespace: str, job: Object) -> None:
    path = FEDERATED_JOB.path(namespace)
    await kube.request("POST", path, body=job, params={"dryRun": "All", "fieldValidation": "Strict"})


async def _alive(kube: Kube, namespace: str) -> str:
    try:
        lease = await kube.get(LEASE, HEARTBEAT, namespace)
    except ApiError as error:
        return f"cannot be read: {error}"
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    if not renewed:
        return f"is not there: no operator has run in namespace {namespace}; look at its log"
    silent = time.time() - seconds(renewed)
    return f"was {silent:.0f} s ago; look at the operator's log" if silent > DEAF_SECONDS else ""
