"""Nothing runs that the silo's administrator has not approved, as it was when he saw it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.operator.agent.silo import IMAGE, NAME, World, client, federated_client, site_file

from umbel_operator.agent import federatedclient
from umbel_operator.agent.approvals.decision import Answer, answered, answers_text, read_answers, standing
from umbel_operator.agent.approvals.desk import Desk
from umbel_operator.agent.approvals.request import read_requests, request_of, requests_text
from umbel_operator.agent.approvals.store import FolderStore
from umbel_operator.agent.audit import Audit
from umbel_operator.agent.policy import Decision, decide

ASKED = site_file(policy={"images": ["registry.example.org/acme/*"], "maxSeconds": 86_400})
OTHER_IMAGE = IMAGE[:-1] + "1"


def approved(client_: federatedclient.FederatedClient, verdict: Any = "Approved") -> dict[str, Answer]:
    request = request_of(client_)
    return answered({}, {request.name: request}, request.name, verdict, "ada", "2027-01-15T08:00:00Z", "")


def test_approved_it_runs_and_denied_it_does_not() -> None:
    asked = client()
    assert decide(asked, ASKED, {}).reason == "ApprovalPending"
    assert decide(asked, ASKED, approved(asked)).allowed
    assert decide(asked, ASKED, approved(asked, "Denied")).reason == "Denied"


@pytest.mark.parametrize(
    "changed",
    [
        {"app": {"image": OTHER_IMAGE, "client": "ct.client:app"}},
        {"app": {"image": IMAGE, "client": "ct.other:app"}},
        {"dataset": "chest-ct"},
        {"resources": {"limits": {"cpu": "2"}}},
        {"privacy": {"minCohort": 2, "minExamples": 11}},
        {"activeDeadlineSeconds": 80_000},
        {"job": {"name": "digits", "namespace": "default", "uid": "another"}},
    ],
)
def test_what_is_changed_after_its_approval_waits_again(changed: dict[str, Any]) -> None:
    answers = approved(client())
    assert decide(client(**changed), ASKED, answers).reason == "ApprovalOutdated"
    assert decide(client(), ASKED, answers).allowed, "changed back, it is what was approved"


def test_what_was_denied_stays_denied_however_it_is_changed() -> None:
    answers = approved(client(), "Denied")
    assert decide(client(dataset="chest-ct"), ASKED, answers).reason == "Denied"


def test_renewals_and_the_servers_address_need_no_approval() -> None:
    answers = approved(client())
    for spec in (
        {"certificate": "new"},
        {"server": {"url": "grpcs://a:1", "name": "b"}},
        {"desiredState": "Suspended"},
    ):
        assert decide(client(**spec), ASKED, answers).allowed


def test_a_tag_is_not_approved_as_it_may_be_another_image_tomorrow() -> None:
    tagged = client(app={"image": "registry.example.org/acme/ct:1", "client": "ct.client:app"})
    assert decide(tagged, ASKED, approved(tagged)).reason == "ImageNotPinned"


def test_an_approval_is_not_above_the_policy() -> None:
    beyond = client(app={"image": "elsewhere@sha256:" + "0" * 64, "client": "ct.client:app"})
    assert decide(beyond, ASKED, approved(beyond)).reason == "ImageNotAllowed"


def test_what_was_approved_and_is_denied_is_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, ASKED)
    world.settle()
    assert world.objects == {}
    assert world.said("Accepted") == ("False", "ApprovalPending")
    world.answers = approved(federatedclient.read(world.fc))
    world.settle()
    world.sign()
    world.settle()
    assert world.replicas == 1
    world.answers = approved(federatedclient.read(world.fc), "Denied")
    world.settle()
    assert "Deployment" not in world.kinds()
    assert world.said("Ready") == ("False", "Denied")


# ---- what is written down


def test_requests_and_answers_come_back_as_they_were_written() -> None:
    request = request_of(client(resources={"limits": {"cpu": "2"}}))
    assert read_requests(requests_text({NAME: request})) == {NAME: request}
    assert read_requests(requests_text({NAME: request}))[NAME].fingerprint == request.fingerprint
    answers = approved(client())
    assert read_answers(answers_text(answers)) == answers
    assert standing(request_of(client()), read_answers(answers_text(answers))) == "Approved"
    assert read_requests("") == read_answers("") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"verdict": "Approved"}}', '{"a": []}'])
def test_answers_that_cannot_be_read_are_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of what kind does not matter
        read_answers(text)


def test_a_verdict_of_another_word_is_none() -> None:
    text = answers_text(approved(client())).replace("Approved", "Maybe")
    with pytest.raises(ValueError, match="Approved or Denied"):
        read_answers(text)


def test_answers_to_requests_that_are_gone_are_dropped() -> None:
    first, other = request_of(client()), replace(request_of(client()), name="other")
    answers = answered({}, {NAME: first}, NAME, "Approved", "ada", "t", "")
    later = answered(answers, {"other": other}, "other", "Denied", "ada", "t", "no")
    assert set(later) == {"other"}
    with pytest.raises(KeyError):
        answered(answers, {}, NAME, "Approved", "ada", "t", "")


def test_the_audit_log_has_each_decision_once_and_whole() -> None:
    lines: list[str] = []
    audit = Audit(lines.append)
    request, answer = request_of(client()), approved(client())[NAME]
    refused, allowed = Decision("ApprovalPending"), Decision("PolicyAllows", "approved by ada")
    for decision in (refused, refused, allowed, allowed):
        audit.decided(request, decision, answer if decision.allowed else None)
    audit.gone(NAME)
    audit.gone(NAME)
    found = [json.loads(line) for line in lines]
    assert [(line["audit"], line.get("reason")) for line in found] == [
        ("refused", "ApprovalPending"),
        ("allowed", "PolicyAllows"),
        ("gone", None),
    ]
    assert found[1]["answer"]["by"] == "ada"
    assert found[1]["image"] == IMAGE
    assert found[1]["fingerprint"] == request.fingerprint


def test_the_audit_log_is_the_administrators_alone_and_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    for _ in range(2):
        Audit.to(path).decided(request_of(federatedclient.read(federated_client())), Decision("Denied"), None)
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o600


async def test_that_nobody_has_answered_so_far_is_heard_too(tmp_path: Path) -> None:
    """Until then no client is judged."""
    desk = Desk(FolderStore(tmp_path), Audit(lambda _: None))
    listening = asyncio.create_task(desk.listen(lambda: None))
    async with asyncio.timeout(5):
        await desk.ready.wait()
    assert desk.answers == {}
    listening.cancel()
