"""Every time on the page of failures is what the code says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from umbel.cli.running import restarts as of_a_run
from umbel.client import backoff
from umbel.job import FederatedJob, parse, resolve
from umbel.rounds import membership
from umbel.server import closing
from umbel.wire import grpc_keepalive, pki
from umbel_operator import health, kube, silo_access
from umbel_operator.agent import agent, credentials, heartbeat, worker
from umbel_operator.agent.backends.kubernetes import diagnosis
from umbel_operator.agent.backends.local import restarts
from umbel_operator.agent.backends.slurm import backend as slurm
from umbel_operator.hub import admin, attention, loop, orphans, plan, reconcile, server_pod, silos
from umbel_operator.hub.manifests import pod
from umbel_operator.hub.manifests.common import Identity
from umbel_operator.hub.settings import Settings

from .text import ROOT

ROWS = {
    f"{title.strip()}: {cells[1].strip()}": row
    for section in (ROOT / "docs/failures.md").read_text("utf-8").split("\n## ")[1:]
    for title, _, body in [section.partition("\n")]
    for row in body.splitlines()
    if row.startswith("| ") and not row.startswith("| what fails")
    for cells in [row.split("|")]
}
ASK, ANSWER = grpc_keepalive.ASK_MS / 1000, grpc_keepalive.ANSWER_MS / 1000
GONE, UNHEARD = membership.GONE_AFTER, ASK + ANSWER
HOUR = 3600.0
GONE_JOB = (
    "The hub's operator: a job is gone, and FederatedClients of it are left (its finalizer was taken off by hand, or "
    "the last write of a killed operator came late)"
)


def s(*seconds: float) -> str:
    return f"**{', '.join(f'{one:g}' for one in seconds)} s**"


def h(hours: float) -> str:
    return f"**{hours:g} h**"


def minutes(seconds: float) -> str:
    """As one says it: whole ones."""
    return f"**{seconds / 60:.0f} min**"


def probe(kind: str) -> dict[str, Any]:
    manifest: FederatedJob = resolve(
        parse(
            {
                "apiVersion": "umbel.dev/v1alpha1",
                "kind": "FederatedJob",
                "metadata": {"name": "a"},
                "spec": {
                    "app": {"image": "a", "client": "a:b"},
                    "silos": [{"name": f"silo-{n}", "dataset": "d"} for n in range(3)],
                },
            }
        )
    )
    made = pod.stateful_set(Identity("a", "default", "uid"), manifest, Settings(), 1)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return dict(container[kind])


FROZEN = probe("livenessProbe")
RENEWED_LEFT = pki.CERTIFICATE_HOURS * (1 - pki.RENEW_AFTER)
TOKEN = silo_access.TOKEN_SECONDS
CHART_PROBE = 3 * 20  # failureThreshold and periodSeconds of both charts; a test below compares

# Times of a row, in the order in which they stand there.
TIMES = {
    "A silo's client: the process ends or is killed": [s(GONE)] * 2,
    "A silo's client: its machine or the network is gone, or the process is frozen": [
        s(ASK),
        s(ANSWER),
        s(UNHEARD + GONE),
    ],
    "A silo's client: it lost only its connection": [s(backoff.FIRST_SECONDS), s(backoff.LONGEST_SECONDS)],
    "A silo's client: its process ended (silo of processes)": [
        s(restarts.FIRST_SECONDS),
        s(restarts.LONGEST_SECONDS),
        s(restarts.STEADY_SECONDS),
        s(restarts.FIRST_SECONDS),
    ],
    "A silo's client: its process ended (`umbel run`)": [s(*of_a_run.PAUSES), s(of_a_run.STEADY_SECONDS)],
    "A silo's client: its node is lost": [s(UNHEARD + GONE)],
    "A silo's client: it cannot start: image, volume, resources": [s(diagnosis.PENDING_SECONDS)],
    "A job's server: the process ends or is killed": [s(backoff.LONGEST_SECONDS)] * 2,
    "A job's server: it is frozen": [
        s(UNHEARD),
        s(FROZEN["periodSeconds"] * FROZEN["failureThreshold"]),
        s(FROZEN["initialDelaySeconds"]),
        s(FROZEN["periodSeconds"] * FROZEN["failureThreshold"]),
    ],
    "A job's server: its node is drained or the pod is deleted": [s(pod.STOP_SECONDS)],
    "A job's server: its node is silent": [s(pod.NODE_SECONDS), s(reconcile.NODE_LOST_SECONDS)],
    "A job's server: its disk is full or broken": [f"**{len(closing.SAVE_PAUSES)}**", s(sum(closing.SAVE_PAUSES))],
    "A job's server: it ends with exit status 2 (settings, a spoilt checkpoint)": [f"**{server_pod.TRIES}**"],
    "The hub's operator: it stays away": [h(pki.CERTIFICATE_HOURS), h(RENEWED_LEFT), h(RENEWED_LEFT)],
    "The hub's operator: it does not hear what it watches": [
        s(health.BEAT_SECONDS),
        s(health.DEAF_SECONDS),
        minutes(health.DEAF_SECONDS + CHART_PROBE),
    ],
    "The hub's operator: a connection to the API died unnoticed": [
        s(kube.WATCH_SECONDS),
        minutes(kube.WATCH_SECONDS + kube.WATCH_GRACE),
    ],
    "The hub's operator: the API server of the hub is away": [
        *map(s, loop.PAUSES),
        *map(s, kube.PAUSE_SECONDS),
        s(loop.PAUSES[1]),
    ],
    "The hub's operator: a server does not answer the operator": [s(admin.SECONDS)],
    "The hub's operator: what a job owns was changed or deleted by somebody": [
        s(attention.LOOK_SECONDS),
        s(plan.REST_SECONDS),
    ],
    "A silo's agent: the process or its node": [
        s(silos.SILENT_SECONDS),
        s(heartbeat.BEAT_SECONDS),
        s(silos.LOOK_SECONDS),
        s(silos.SILENT_SECONDS + silos.LOOK_SECONDS),
    ],
    "A silo's agent: the hub's API is out of reach": [
        s(heartbeat.BEAT_SECONDS),
        s(kube.PAUSE_SECONDS[1]),
        s(kube.PAUSE_SECONDS[1]),
    ],
    "A silo's agent: a client is no longer asked for, and the agent did not hear of it": [
        s(agent.SWEEP_SECONDS),
        minutes(agent.SWEEP_SECONDS),
    ],
    "A silo's agent: its token was not renewed in time": [
        h(TOKEN / HOUR),
        h(TOKEN / HOUR * (1 - credentials.RENEW_AFTER)),
    ],
    GONE_JOB: [s(orphans.SWEEP_SECONDS), minutes(orphans.SWEEP_SECONDS)],
    "A silo's agent: the silo's own API is out of reach": [s(worker.LONGEST_PAUSE)] * 2,
    "A silo's agent: Slurm does not answer": [s(slurm.OUTAGE_SECONDS)],
    "A silo's agent: a pass of the agent hangs": [
        s(agent.STUCK_SECONDS),
        minutes(agent.STUCK_SECONDS + CHART_PROBE),
    ],
    "Everything at once: the whole hub cluster restarts": [s(loop.PAUSES[1])],
}


@pytest.mark.parametrize("row", ROWS)
def test_times(row: str) -> None:
    assert re.findall(r"\*\*[^*]+\*\*", ROWS[row]) == TIMES.get(row, [])


@pytest.mark.parametrize("row", ROWS)
def test_every_row_says_how_long(row: str) -> None:
    assert ROWS[row].split("|")[3].strip()


MEASURED = {
    "A silo's client: its pod ended (silo on Kubernetes)": "a client's pod, by force",
    "A job's server: the process ends or is killed": "the server's process",
    "The hub's operator: the process or its node": "operator",
    "The hub's operator: the API server of the hub is away": "API server of the hub",
    "A silo's agent: the process or its node": "a silo's agent",
}


def test_what_was_measured_is_what_the_page_of_performance_says() -> None:
    page = (ROOT / "docs/performance.md").read_text("utf-8")
    said = {row: re.findall(r"([\d.]+) s measured", text) for row, text in ROWS.items()}
    told = {row: re.findall(rf"^\| {killed} \| ([\d.]+) \|$", page, re.MULTILINE) for row, killed in MEASURED.items()}
    assert {row: found for row, found in said.items() if found} == told


def test_no_time_is_of_a_row_that_is_gone() -> None:
    assert TIMES.keys() <= ROWS.keys()


@pytest.mark.parametrize("chart", ["umbel-hub", "umbel-silo"])
def test_the_charts_probes(chart: str) -> None:
    text = (ROOT / f"helm/{chart}/templates/deployment.yaml").read_text("utf-8").partition("livenessProbe")[2]
    found = {name: int(re.search(rf"{name}: (\d+)", text)[1]) for name in ("periodSeconds", "failureThreshold")}  # type: ignore[index]
    assert found["periodSeconds"] * found["failureThreshold"] == CHART_PROBE


def test_the_lease_says_how_long_its_silence_is_borne() -> None:
    assert heartbeat.LEASE_SECONDS == silos.SILENT_SECONDS
