"""Who is late costs a round no more than was promised, and is told apart: partial, timed out, lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .federation import SILOS, Federation, Job, Object
from .test_trouble import ENDLESS

pytestmark = pytest.mark.cluster

TENTH = {"limits": {"cpu": "100m"}}
QUORUM = {"total": ENDLESS, "quorum": 3, "gatherSeconds": 300}
NOT_EVALUATED = {"everyRounds": 0}
GIVEN_UP = 15.0  # seconds that a silo without a session is waited for


def test_a_client_on_a_tenth_of_a_cpu_is_told_in_time_and_its_part_counts(
    federation: Federation, troubled: str
) -> None:
    """A whole update is four seconds of CPU time: forty for it."""
    steps = 200
    silos = [{"name": silo, "dataset": f"digits-{n}-of-10"} for n, silo in enumerate(SILOS, 1)]
    silos[0] = {**silos[0], "resources": TENTH}
    app = {"image": troubled, "client": "client:app", "config": {"steps": steps, "pause": 0.0, "work": 0.02}}
    rounds = {"total": ENDLESS, "timeoutSeconds": 30, "graceSeconds": 15, "gatherSeconds": 300}
    with federation.job("throttled", silos=silos, app=app, rounds=rounds, evaluation=NOT_EVALUATED) as job:
        members = job.first_round()["members"]
        assert members["partial"] >= 1
        assert members["full"] + members["partial"] == len(SILOS)
        assert job.server_metrics().value("fl_client_updates_total", outcome="partial") >= members["partial"]
        assert 0 < steps_accepted(job, "silo-1") < steps
        end(job)


def test_a_client_that_hangs_while_its_session_lives_costs_the_timeout(federation: Federation, troubled: str) -> None:
    app = {"image": troubled, "client": "client:app", "config": {"hangs": "silo-2"}}
    rounds = {**QUORUM, "timeoutSeconds": 15, "graceSeconds": 5}
    with federation.job("hanging", app=app, rounds=rounds, evaluation=NOT_EVALUATED) as job:
        first = job.first_round()
        assert told(first) == {"invited": 4, "full": 3, "timedOut": 1}
        assert first["seconds"]["train"] >= 15, "it was waited for"
        assert_counted(job, "timed_out")
        end(job)


def test_a_client_that_is_frozen_costs_no_more_than_its_absence(federation: Federation, troubled: str) -> None:
    """Nothing is heard of it: keepalive ends its session within half a minute, and 15 s later the round closes. It
    closes because nobody is left to wait for: the deadline is far."""
    app = {"image": troubled, "client": "client:app", "config": {"slow": "silo-3"}}
    with federation.job("frozen", app=app, rounds={**QUORUM, "timeoutSeconds": 600}) as job:
        job.until(lambda j: j.condition("Progressing").get("reason") == "Training", "round 1 open")
        with frozen(job, "silo-3"):
            first = job.first_round()
            assert told(first) == {"invited": 4, "full": 3, "lost": 1}
            assert GIVEN_UP <= first["seconds"]["train"] < 600 / 4
            assert_counted(job, "lost")
            end(job)


@contextmanager
def frozen(job: Job, silo: str) -> Iterator[None]:
    processes = job.client_processes(silo)
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes]
    assert any("umbel" in command and f"--silo={silo}" in command for command in commands), commands
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def told(entry: Object) -> dict[str, int]:
    """What the history says became of the invitations, without what did not happen."""
    return {what: count for what, count in entry["members"].items() if count}


def assert_counted(job: Job, outcome: str) -> None:
    """The metrics say of every round what the history says of the first."""
    found = job.server_metrics()
    rounds = found.value("fl_rounds_total", outcome="committed")
    expected = {"full": 3, "partial": 0, "declined": 0, "timed_out": 0, "lost": 0, outcome: 1}
    assert rounds >= 1
    assert {o: found.value("fl_client_updates_total", outcome=o) / rounds for o in expected} == expected


def steps_accepted(job: Job, silo: str) -> int:
    """How much of a round the client says that the server took. A slow one hears of it after the round has closed, and
    of one round may never: an answer that was lost is asked for again, when the round is gone."""
    told = re.compile(r"round \d+: update accepted \((\d+) steps\)")
    found: re.Match[str] = job.until(lambda j: told.search(j.client_log(silo)), "the client told that it counts")
    return int(found[1])


def end(job: Job) -> None:
    job.patch(rounds={"total": 1})
    job.until_complete()
