"""Who is no longer of the job is out at once: its session ends, whatever its client and its agent do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .federation import OUT_SECONDS, SILOS, Federation, Job
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

AWAY = "silo-4"
OTHERS = [{"name": silo, "dataset": f"digits-{n}-of-10"} for n, silo in enumerate(SILOS, 1) if silo != AWAY]


@pytest.mark.parametrize("how", ["suspended", "removed"])
def test_a_silos_session_ends(federation: Federation, troubled: str, how: str) -> None:
    """Its agent is away, so that nobody stops the client: the server alone can end the session."""
    with job(federation, f"member-{how}", troubled) as left:
        with agent_away(federation, left), federation.suspended(AWAY) if how == "suspended" else removed(left):
            left.until(lambda j: j.connected() == 3, "its session ended", OUT_SECONDS)
            left.until(lambda j: "NOT_A_MEMBER" in j.client_log(AWAY), "the client told so")
            reached = left.status["round"]["number"]
            left.until_round(reached + 2)
        if how == "removed":
            left.until(lambda j: not j.client_pods(AWAY), "its client stopped")
        else:
            left.until(lambda j: j.connected() == 4, "it is back")


@contextmanager
def job(federation: Federation, name: str, image: str) -> Iterator[Job]:
    app = {"image": image, "client": "client:app"}
    rounds = {"total": ENDLESS, "updates": 3, "quorum": 3, "gatherSeconds": 5}
    with federation.job(name, app=app, rounds=rounds) as started:
        started.until_round(1)
        started.until(lambda j: j.connected() == 4, "everybody connected")
        yield started


@contextmanager
def agent_away(federation: Federation, of: Job) -> Iterator[None]:
    federation.kill(AWAY)
    try:
        yield
        assert of.client_pods(AWAY), "nobody has stopped its client"
    finally:
        federation.start_agent(AWAY)


@contextmanager
def removed(of: Job) -> Iterator[None]:
    of.patch(silos=OTHERS)
    yield
