"""A job on a bare machine that its administrator is asked about; the agent, and he, are ordinary users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent.federation import Agent, Federation, federation, process_site, running, until
from agent.ordinary import ORDINARY, USER
from umbel_cluster.api import Api

from umbel_operator.agent.policy import WORDS

pytestmark = [pytest.mark.api, pytest.mark.process]

SILO = "desk-asked"
PATTERN, NOTE = "registry.example.org/acme/exam*", "not before the ethics board has met"
WHO = "ada-of-radiology"
OTHER_FLOORS = {"minCohort": 4, "minExamples": 11}


def test_asked_approved_changed_approved_and_denied(api: Api, tmp_path: Path) -> None:
    with federation(api, tmp_path, [SILO, "b", "c"]) as job:
        audit = tmp_path / "audit.jsonl"
        agent = _asking(job, audit)
        _waits(job, agent, "ApprovalPending", "Waiting")
        assert agent.folders() == [], "nothing is made of it, not even a key"

        _approved(job, agent)
        job.change(SILO, privacy=OTHER_FLOORS)
        _waits(job, agent, "ApprovalOutdated", "Changed")
        _approved(job, agent)

        said = agent.ask("deny", job.name(SILO), "--note", NOTE)
        assert said.startswith(f"denied {job.name(SILO)}: default/{job.job}, registry.example.org/acme/example@sha256:")
        _stopped(job, agent, "Denied")
        assert job.name(SILO) not in agent.ask("pending")
        assert "Denied" in agent.ask("pending", "--all")

        told = [json.loads(line) for line in audit.read_text().splitlines()]
        assert [(line["audit"], line["reason"]) for line in told] == [
            ("refused", "ApprovalPending"),
            ("allowed", "PolicyAllows"),
            ("refused", "ApprovalOutdated"),
            ("allowed", "PolicyAllows"),
            ("refused", "Denied"),
        ]
        assert [line["privacy"]["minCohort"] for line in told] == [3, 3, 4, 4, 4]
        assert told[-1]["answer"] == {**told[-1]["answer"], "verdict": "Denied", "by": WHO, "note": NOTE}
        assert audit.stat().st_mode & 0o777 == 0o600
        at_the_hub = json.dumps(job.client(SILO))
        assert not [word for word in (NOTE, WHO, "exam*") if word in at_the_hub]


def _asking(job: Federation, audit: Path) -> Agent:
    site = {"policy": {"images": [PATTERN]}, "datasets": {f"{job.job}-1-of-3": {}}, **process_site()}
    options = ("--backend=process", f"--audit-log={audit}")
    agent = job.add(SILO, site, *options, environment={"LOGNAME": WHO}, within=ORDINARY)
    assert agent.process is not None
    return agent


def _waits(job: Federation, agent: Agent, reason: str, stands: str) -> None:
    _stopped(job, agent, reason)

    def listed() -> str:
        found = (line for line in agent.ask("pending").splitlines() if line.startswith(job.name(SILO)))
        return next(found, "")

    until(lambda: listed().endswith(stands), f"listed as {stands}", agent.log)


def _stopped(job: Federation, agent: Agent, reason: str) -> None:
    said: dict[str, Any] = job.await_condition(SILO, "Accepted", reason)
    assert (said["status"], said["message"]) == ("False", WORDS[reason])
    until(lambda: not running(agent.state_dir), "nothing of it runs", agent.log)
    keys = [folder / "tls/tls.key" for folder in agent.folders()]
    until(lambda: not any(key.exists() for key in keys), "its key is gone", agent.log)


def _approved(job: Federation, agent: Agent) -> None:
    agent.ask("approve", job.name(SILO))
    job.await_condition(SILO, "Ready", "Running")
    (client,) = until(lambda: running(agent.state_dir), "its client", agent.log)
    status = Path(f"/proc/{client}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert Path(f"/proc/{client}/uid_map").read_text().split()[0] == str(USER)
