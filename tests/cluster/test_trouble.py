"""What goes wrong in one silo is told where it belongs, and the others go on."""

from __future__ import annotations

import pytest

from .federation import GONE_SECONDS, Federation, Job, unasked

pytestmark = pytest.mark.cluster

ENDLESS = 100_000  # rounds of a job that the test ends
TROUBLES = {"silo-2": "ImagePullBackOff", "silo-3": "Unschedulable", "silo-4": "CrashLoopBackOff"}
NOWHERE = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}


def test_the_others_go_on_and_everyones_trouble_is_told(federation: Federation, troubled: str) -> None:
    silos = [{"name": f"silo-{n}", "dataset": f"digits-{n}-of-10"} for n in (1, 2, 3, 4)]
    unknown = {"name": "elsewhere", "dataset": "digits-5-of-10"}
    app = {"image": troubled, "client": "client:app", "config": {"exits": "silo-4", "pause": 0.1}}
    rounds, privacy = {"total": ENDLESS, "quorum": 1, "gatherSeconds": 5}, {"minCohort": 1, "allowSmallCohort": True}
    sites = {"silo-2": {"pods": {"imagePullPolicy": "Always"}}, "silo-3": {"pods": NOWHERE}}
    with (
        federation.sites(sites),
        federation.job("troubled", silos=[*silos, unknown], app=app, rounds=rounds, privacy=privacy) as job,
    ):
        for silo, reason in TROUBLES.items():
            job.until(lambda j, s=silo, r=reason: j.ready(s).get("reason") == r, f"{reason}, in {silo}")
            in_the_job_too(job, silo, reason)
        assert "exit code 7 " in job.ready("silo-4")["message"]
        in_the_job_too(job, "elsewhere", "NoSuchSilo")
        job.until_round(1)
        job.patch(rounds={"total": 1})
        job.until_complete()
        committed = [entry for entry in job.status["history"] if entry["outcome"] == "Committed"]
        assert {entry["members"]["full"] for entry in committed} == {1}


def test_out_of_memory_in_training_and_a_policy_that_refuses(federation: Federation, troubled: str) -> None:
    """In round 2 a client takes more than its limit, whenever it is started again; then it is as good as the others."""
    app = {"image": troubled, "client": "client:app", "config": {"greedy": "silo-3", "greedyRound": 2, "pause": 0.1}}
    times = {"timeoutSeconds": 20, "graceSeconds": 5, "gatherSeconds": 300}
    rounds = {"total": ENDLESS, "updates": 3, "quorum": 2, **times}
    privacy = {"minCohort": 2, "allowSmallCohort": True}
    sites = {"silo-1": {"policy": unasked("registry.example.org/*")}, "silo-3": {"pods": {"defaults": SMALL}}}
    with (
        federation.sites(sites),
        federation.job("no-memory", app=app, rounds=rounds, privacy=privacy) as job,
    ):
        job.until(lambda j: j.ready("silo-3").get("reason") == "OOMKilled", "the reason, in its silo")
        in_the_job_too(job, "silo-3", "OOMKilled")
        job.until_round(2)
        assert trained_in(job, 2) == 2, "without it"
        job.until(lambda j: trained_in(j, j.status["round"]["number"]) == 3, "with it again")
        job.until(lambda j: j.ready("silo-3").get("reason") == "Running", "it runs")
        refused = job.accepted("silo-1")
        assert (refused["status"], refused["reason"]) == ("False", "ImageNotAllowed")
        assert not job.client_pods("silo-1"), "nothing has run there"
        job.patch(rounds={"total": 1})
        job.until_complete()


def test_a_server_that_cannot_be_configured_fails_with_its_own_words(federation: Federation) -> None:
    with federation.job("wrong-client", app__client="client:missing") as job:
        assert job.until_ended() == "Failed"
        failed = job.condition("Failed")
        assert failed["reason"] == "ServerMisconfigured"
        assert "spec.app.client" in failed["message"]


def test_a_silo_that_is_away_when_the_job_is_deleted_cleans_up_when_it_is_back(federation: Federation) -> None:
    with federation.job("deleted", rounds={"total": ENDLESS}) as job:
        job.until_round(1)
        federation.kill("silo-4")
        try:
            federation.hub.kubectl("delete", "fj", "deleted", "--wait=false")
            job.until(lambda j: not elsewhere_than(federation, "silo-4"), "nothing left but there", GONE_SECONDS)
            there = {each.split()[1] for each in federation.left("deleted")}
            assert there >= {"Deployment", "Pod", "Secret", "NetworkPolicy"}, "it does not know yet"
        finally:
            federation.start_agent("silo-4")
        job.until(lambda j: not federation.left("deleted"), "gone there too")


def elsewhere_than(federation: Federation, silo: str) -> list[str]:
    return [each for each in federation.left("deleted") if not each.startswith(f"{silo} ")]


def in_the_job_too(job: Job, silo: str, reason: str) -> None:
    told = f"{silo}: {reason}"
    job.until(lambda j: told in j.condition("SilosReady").get("message", ""), f"{told}, in the job")


def trained_in(job: Job, number: int) -> int:
    """How many silos' updates are in a round's model."""
    entry = job.history(number)
    return 0 if entry is None else int(entry["members"]["full"] + entry["members"]["partial"])
