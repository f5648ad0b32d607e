"""What goes wrong in one silo is told where it belongs, and the others go on."""

from __future__ import annotations

import pytest

from .federation import Federation, unasked

pytestmark = pytest.mark.cluster

ENDLESS = 100_000  # rounds of a job that the test ends
QUORUM = {"rounds__quorum": 3, "rounds__gatherSeconds": 5, "rounds__total": 10}


def test_an_image_that_cannot_be_pulled(federation: Federation) -> None:
    federation.kill("silo-2")
    federation.write_site("silo-2", pods={"imagePullPolicy": "Always"})
    federation.start_agent("silo-2")
    try:
        with federation.job("no-image", **{**QUORUM, "rounds__total": ENDLESS}) as job:
            job.until(lambda j: j.ready("silo-2").get("reason") == "ImagePullBackOff", "the reason, in its silo")
            told = "silo-2: ImagePullBackOff"
            job.until(lambda j: told in j.condition("SilosReady").get("message", ""), "and in the job, by name")
            job.until_round(1)
            job.patch(rounds={"total": 1})
            job.until_complete()
    finally:
        federation.kill("silo-2")
        federation.write_site("silo-2")
        federation.start_agent("silo-2")


def test_a_silo_whose_policy_refuses(federation: Federation) -> None:
    federation.kill("silo-1")
    federation.write_site("silo-1", policy=unasked("registry.example.org/*"))
    federation.start_agent("silo-1")
    try:
        with federation.job("refused", **QUORUM) as job:
            job.until_complete()
            assert not job.client_pods("silo-1"), "nothing has run there"
            accepted = [c for c in job.clients()["silo-1"]["status"]["conditions"] if c["type"] == "Accepted"]
            assert (accepted[0]["status"], accepted[0]["reason"]) == ("False", "ImageNotAllowed")
    finally:
        federation.kill("silo-1")
        federation.write_site("silo-1")
        federation.start_agent("silo-1")


def test_a_silo_that_does_not_exist_is_named(federation: Federation) -> None:
    silos = [{"name": f"silo-{n}", "dataset": f"digits-{n}-of-10"} for n in (1, 2, 3)]
    unknown = {"name": "elsewhere", "dataset": "digits-5-of-10"}
    with federation.job("unknown-silo", **QUORUM, silos=[*silos, unknown]) as job:
        job.until(lambda j: "elsewhere: NoSuchSilo" in j.condition("SilosReady").get("message", ""), "its name, said")
        job.until_complete()


def test_a_server_that_cannot_be_configured_fails_with_its_own_words(federation: Federation) -> None:
    with federation.job("wrong-client", app__client="client:missing") as job:
        assert job.until_ended() == "Failed"
        failed = job.condition("Failed")
        assert failed["reason"] == "ServerMisconfigured"
        assert "spec.app.client" in failed["message"]


def test_a_client_that_needs_more_memory_than_it_may_have(federation: Federation) -> None:
    federation.kill("silo-3")
    small = {"requests": {"cpu": "100m", "memory": "24Mi"}, "limits": {"cpu": "1", "memory": "24Mi"}}
    federation.write_site("silo-3", pods={"defaults": small})
    federation.start_agent("silo-3")
    try:
        with federation.job("no-memory", **{**QUORUM, "rounds__total": ENDLESS}) as job:
            job.until(lambda j: j.ready("silo-3").get("reason") == "OOMKilled", "the reason, in its silo")
            job.until_round(1)
            job.patch(rounds={"total": 1})
            job.until_complete()
    finally:
        federation.kill("silo-3")
        federation.write_site("silo-3")
        federation.start_agent("silo-3")


def test_a_silo_that_is_away_when_the_job_is_deleted_cleans_up_when_it_is_back(federation: Federation) -> None:
    with federation.job("deleted", **{**QUORUM, "rounds__total": ENDLESS}) as job:
        job.until_round(1)
        federation.kill("silo-4")
        try:
            federation.hub.kubectl("delete", "fj", "deleted", "--timeout=30s")  # nobody waits for the silo
            assert job.client_pods("silo-4"), "its client does not know yet"
        finally:
            federation.start_agent("silo-4")
        job.until(lambda j: not j.client_pods("silo-4"), "gone there too")
