"""The hub in a few lines: what was seen of it, and what of that needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from umbel.wire import pki
from umbel_operator.cli.silo import state
from umbel_operator.conditions import find, is_true, seconds, timestamp
from umbel_operator.health import DEAF_SECONDS, HEARTBEAT
from umbel_operator.hub import rotation
from umbel_operator.hub.join import published
from umbel_operator.hub.rotation import CA_SECRET, Keys
from umbel_operator.kube import CONFIG_MAP, FEDERATED_JOB, LEASE, SECRET, SILO, Kube, Object

AUTHORITY_ENDS_SECONDS = 60 * 86_400.0  # so long before, it is worth a word
SHOWN = 10  # warnings of one kind

Objects = Sequence[Object]


@dataclass(frozen=True, slots=True)
class Seen:
    """``heartbeat``: Unix time; None: no operator has ever run. ``keys``, or what is wrong with them."""

    heartbeat: float | None
    keys: Keys | None
    fault: str
    join_url: str
    silos: Objects
    jobs: Objects


async def look(kube: Kube, namespace: str) -> Seen:
    """Raises ApiError."""
    lease = await kube.get(LEASE, HEARTBEAT, namespace)
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    secret, keys, fault = await kube.get(SECRET, CA_SECRET, namespace), None, ""
    try:
        keys = rotation.read(secret) if secret is not None else None
    except ValueError as error:
        fault = str(error)
    told = await kube.get(CONFIG_MAP, published.NAME, namespace)
    return Seen(
        heartbeat=seconds(renewed) if renewed else None,
        keys=keys,
        fault=fault,
        join_url=(told or {}).get("data", {}).get(published.URL, ""),
        silos=await kube.list(SILO),
        jobs=await kube.list(FEDERATED_JOB),
    )


def lines(seen: Seen, now: float) -> Iterator[str]:
    """Pure."""
    yield f"operator   {_operator(seen.heartbeat, now)}"
    yield f"authority  {_authority(seen)}"
    yield f"joining    {seen.join_url or 'no join service; silos are added by `umbel silo add`'}"
    yield f"silos      {_counts(state(_ready(item)) for item in seen.silos)}"
    yield f"jobs       {_counts(map(job_state, seen.jobs))}"
    for warning in warnings(seen, now):
        yield f"warning    {warning}"


def warnings(seen: Seen, now: float) -> Iterator[str]:
    if seen.heartbeat is None or now - seen.heartbeat > DEAF_SECONDS:
        yield "the operator does not write its heartbeat: nothing is reconciled, nobody joins; look at its log"
    if seen.keys is not None:
        ends = pki.expiry(seen.keys.bundle)
        if ends - now < AUTHORITY_ENDS_SECONDS:
            yield f"the authority ends at {timestamp(ends)}: `umbel hub ca rotate`"
    yield from _listed(
        f"silo {item['metadata']['name']}: {found['message']}"
        for item in seen.silos
        if (found := find((item.get("status") or {}).get("conditions"), "TokenReused")).get("status") == "True"
    )
    yield from _listed(
        f"silo {item['metadata']['name']}: {_ready(item).get('message') or 'nothing is known of it'}"
        for item in seen.silos
        if state(_ready(item)) in ("Unknown", "InvitationExpired")
    )
    yield from _listed(
        f"job {item['metadata']['namespace']}/{item['metadata']['name']}: {found['reason']}: {found['message']}"
        for item in seen.jobs
        for found in _faults((item.get("status") or {}).get("conditions"))
    )


def job_state(job: Object) -> str:
    conditions = (job.get("status") or {}).get("conditions")
    ended = next((type_ for type_ in ("Complete", "Failed") if is_true(conditions, type_)), "")
    return ended or str(find(conditions, "Progressing").get("reason") or "Pending")


def _faults(conditions: Any) -> Iterator[Any]:
    for type_, bad in (("Failed", "True"), ("Reconciled", "False"), ("SpecAccepted", "False")):
        if (found := find(conditions, type_)).get("status") == bad:
            yield found


def _operator(heartbeat: float | None, now: float) -> str:
    if heartbeat is None:
        return "has never run in this namespace"
    silent = max(0.0, now - heartbeat)
    return f"alive, heard {silent:.0f} s ago" if silent <= DEAF_SECONDS else f"silent since {timestamp(heartbeat)}"


def _authority(seen: Seen) -> str:
    if seen.keys is None:
        return seen.fault or f"none yet (Secret {CA_SECRET}): the operator makes it"
    certificate = seen.keys.authority().certificate
    ends = timestamp(certificate.not_valid_after_utc.timestamp())
    text = f"{certificate.subject.rfc4514_string().removeprefix('CN=')}, until {ends}"
    if seen.keys.phase != "Settled":
        text += f"; rotation: {seen.keys.phase}, next step at {timestamp(seen.keys.since + seen.keys.overlap)}"
    return text


def _counts(states: Iterator[str]) -> str:
    counted = Counter(states)
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items())) or "none"


def _listed(texts: Iterator[str]) -> Iterator[str]:
    found = list(texts)
    yield from found[:SHOWN]
    if len(found) > SHOWN:
        yield f"and {len(found) - SHOWN} more like the last"


def _ready(item: Object) -> Any:
    return find((item.get("status") or {}).get("conditions"), "Ready")
