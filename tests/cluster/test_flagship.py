"""One manifest, one job, every sort of silo: a Kubernetes cluster, two Slurm sites, a bare machine. Preempted,
suspended, removed, the authority replaced: each in the middle of a round, and the job ends Complete."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from cryptography import x509
from safetensors import safe_open
from safetensors.numpy import load_file

from .federation import OUT_SECONDS, PATIENCE, Federation, Job, Object
from .mixed import CENTRES, DESK, KUBERNETES, SECOND, SILOS, Mixed, Silo, mixed
from .test_kills import history_is_whole

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

OVERLAP_SECONDS = 25.0  # hours in earnest; what has to be in time here is a kubelet that looks every few seconds


@pytest.fixture(scope="module")
def silos(federation: Federation) -> Iterator[Mixed]:
    with mixed(federation) as joined:
        yield joined


def test_one_job_to_complete_over_kubernetes_slurm_and_a_bare_machine(silos: Mixed) -> None:
    centre = silos.silos[CENTRES[0]]
    with silos.job("flagship", epochs=6000) as job:
        job.until(lambda j: absent(latest(j)) == 0, "all are in a round")
        job.until_mid_round()
        with preempted(centre):
            job.until(lambda j: absent(latest(j)) == 1, "a round without it")
        job.until(lambda j: absent(latest(j)) == 0, "it is back in a round")
        its_part_counted(centre, job)
        ended(job, silos, SILOS)
        accuracy = {m["name"]: m["value"] for m in job.status["metrics"] if m["phase"] == "evaluate"}["accuracy"]
        assert accuracy > 0.8


def test_the_server_knows_who_waits_for_its_turn_at_its_site(silos: Mixed) -> None:
    members = (*CENTRES, DESK)
    with ExitStack() as before_it:
        before_it.enter_context(occupied(silos.silos[CENTRES[0]]))
        with silos.job("queueing", members, epochs=60) as job:
            job.until(lambda j: "1 wait in the queues" in progress(j.status)["message"], "its server told")
            assert not job.status.get("history"), "the quorum is of all"
            before_it.close()
            assert taken_in(job.first_round()) == len(members)
            job.patch(rounds={"total": 1})
            job.until_complete()


def test_members_and_the_authority_change_in_mid_round(silos: Mixed) -> None:
    desk, leaving = silos.silos[DESK], silos.silos[CENTRES[1]]
    members = (*SILOS, SECOND)
    with silos.job("changing", members, epochs=2000) as job:
        job.until(lambda j: taken_in(latest(j)) == len(members), "all are in a round")
        with suspended(desk, job):
            job.until(lambda j: taken_in(latest(j)) == len(members) - 1, "a round without it")
        job.until(lambda j: taken_in(latest(j)) == len(members), "it is back in a round")

        remove(leaving, job)
        job.until(lambda j: taken_in(latest(j)) == len(members) - 1, "rounds go on without it")

        rotate_authority(job, silos)
        with suspended(desk, job):
            job.until(lambda j: taken_in(latest(j)) == len(members) - 2, "a round without it")
        job.until(lambda j: taken_in(latest(j)) == len(members) - 1, "it is back, by a new certificate")
        ended(job, silos, [silo for silo in members if silo != leaving.name])


# ---- what happens to silos


@contextmanager
def preempted(silo: Silo) -> Iterator[None]:
    (client,) = silo.queue()
    with occupied(silo):
        yield
        assert client not in silo.queue()
        assert len(silo.queue()) == 1, "its agent has submitted it again"


@contextmanager
def occupied(silo: Silo) -> Iterator[None]:
    """By a job that needs all of the site; until the end, nothing else runs there."""
    assert silo.slurm is not None
    urgent = ("--parsable", "--partition=hi", "--exclusive", "--output=/dev/null", "--wrap=sleep 600")
    winner = silo.slurm.run("sbatch", *urgent)
    try:
        yield
    finally:
        silo.slurm.run("scancel", winner)


@contextmanager
def suspended(silo: Silo, job: Job) -> Iterator[None]:
    """From the middle of a round on. The hub ends its session by itself; at the end it has a new one."""
    (before,), there = silo.clients(), job.connected()
    job.until_mid_round()
    silo.federation.umbel("silo", "suspend", silo.name)
    try:
        job.until(lambda j: j.connected() == there - 1, "its session ended", OUT_SECONDS)
        job.until(lambda j: silo.idle(), "its client stopped")
        yield
    finally:
        silo.federation.umbel("silo", "resume", silo.name)
    job.until(lambda j: j.connected() == there, "it is back")
    assert before not in silo.clients()


def remove(silo: Silo, job: Job) -> None:
    """In the middle of a round: nothing is left of it at the hub, nor of its access in the silo."""
    there = job.connected()
    job.until_mid_round()
    silo.federation.umbel("silo", "remove", silo.name)
    job.until(lambda j: j.connected() == there - 1, "its session ended", OUT_SECONDS)
    left = ("get", "silo,ns", silo.name, f"umbel-silo-{silo.name}", "--ignore-not-found", "-o", "name")
    assert not job.federation.hub.kubectl(*left)
    assert silo.name not in job.clients()
    job.until(lambda j: silo.ended() and silo.idle(), "its agent has removed its client, and stopped")
    assert not silo.membership["key"]
    assert not any((silo.state / "clients").rglob("tls.key"))


def rotate_authority(job: Job, silos: Mixed) -> None:
    """From the middle of a round until only the new one is trusted; nothing was started again for it."""
    hub = job.federation
    before, ran = issuer(job), running(job, silos)
    job.until_mid_round()
    hub.umbel("hub", "ca", "rotate", "--overlap", OVERLAP_SECONDS / 3600)
    assert under_way(hub)
    job.until(lambda j: not under_way(hub), "the end of the rotation", PATIENCE + 2 * OVERLAP_SECONDS)
    job.until(lambda j: issuer(j) != before, "the server's certificate is of the new authority")
    assert running(job, silos) == ran


def running(job: Job, silos: Mixed) -> dict[str, object]:
    """Of server and clients: what would be another, if one had been started again."""
    pods = [job.server_pod(), *(pod for silo in (KUBERNETES, SECOND) for pod in job.client_pods(silo))]
    found: dict[str, object] = {}
    for pod in pods:
        assert pod is not None
        restarts = [status["restartCount"] for status in pod["status"]["containerStatuses"]]
        found[pod["metadata"]["name"]] = (pod["metadata"]["uid"], restarts)
    for name, silo in silos.silos.items():
        found[name] = silo.clients()
    return found


# ---- what the job tells


def progress(status: Object) -> Object:
    """The condition of that name; without a word before there is one."""
    found = (c for c in status.get("conditions", ()) if c["type"] == "Progressing")
    return {"reason": "", "message": "", **next(found, {})}


def latest(job: Job) -> Object:
    """The last round that closed; empty before the first."""
    history = job.status.get("history", [])
    return dict(history[-1]) if history else {}


def taken_in(entry: Object) -> int:
    """How many members' updates are in a round's model; none is in it twice."""
    members = entry.get("members")
    if members is None:
        return 0
    found = int(members["full"] + members["partial"])
    assert found <= members["invited"]
    return found


def absent(entry: Object) -> int:
    """How many of the job's silos have no part in a round's model."""
    return len(SILOS) - taken_in(entry)


def its_part_counted(silo: Silo, job: Job) -> None:
    """What it had when it was told to end: the server took it, and the round's members say so."""
    _, was_told, then = silo.log(job).partition("told to end")
    assert was_told
    afterwards = then.partition("connected")[0]
    told = re.search(r"round (\d+): update accepted", afterwards)
    if told is not None:  # else it was told between two rounds, and had nothing
        entry = job.history(int(told[1]))
        assert entry is not None
        assert taken_in(entry) == len(SILOS)
        assert entry["members"]["partial"] >= 1


def issuer(job: Job) -> str:
    """Who signed the certificate that the job's server is to show."""
    kubectl = job.federation.hub.kubectl
    secret = json.loads(kubectl("get", "secret", f"{job.name}-server-tls", "-o", "json"))
    return x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"])).issuer.rfc4514_string()


def under_way(federation: Federation) -> bool:
    return "rotation: " in federation.umbel("hub", "status")


# ---- the end


def ended(job: Job, silos: Mixed, members: Sequence[str]) -> None:
    """Complete after the round that is open, with no round lost; the members have its model, and are idle."""
    found = job.server_metrics()
    assert found.value("fl_rounds_total", outcome="abandoned") == 0
    job.patch(rounds={"total": job.status["round"]["number"] + 1})
    job.until_complete()
    history_is_whole(job)
    status = job.status
    assert {entry["outcome"] for entry in status["history"]} == {"Committed"}
    numbers = [entry["round"] for entry in status["history"]]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    last = numbers[-1]
    for silo in members:
        job.until(lambda j, s=silo: j.model_kept(s), f"the final model in {silo}")
        job.until(lambda j, s=silo: j.ready(s).get("reason") == "Finished", f"{silo} to be finished")
    others = [silos.silos[silo] for silo in members if silo in silos.silos]
    for silo in others:
        job.until(lambda j, s=silo: s.idle(), f"nothing to run in {silo.name}")
    job.until(lambda j: not any(j.client_pods(silo) for silo in (KUBERNETES, SECOND)), "the pods are gone")
    files = [silo.folder(job) / "state/model.safetensors" for silo in others]
    for file in files:
        with safe_open(str(file), framework="numpy") as model:
            assert model.metadata()["round"] == str(last) == str(status["model"]["round"])
    first, *rest = [load_file(file) for file in files]
    for each in rest:
        assert each.keys() == first.keys()
        for name, array in first.items():
            np.testing.assert_array_equal(each[name], array)
