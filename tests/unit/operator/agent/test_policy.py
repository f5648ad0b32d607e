"""What a silo lets run: what its site file names, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.agent.silo import IMAGE, UNASKED, client, site_file

from umbel_operator.agent.policy import WORDS, decide

ALLOWED = "PolicyAllows"


def reason(policy: dict[str, Any] | None = None, *, site: dict[str, Any] | None = None, **spec: Any) -> str:
    given = {"images": ["*"], "requireDigest": False, **UNASKED, **policy} if policy is not None else None
    parts = {**({"policy": given} if given is not None else {}), **(site or {})}
    return decide(client(**spec), site_file(**parts), {}).reason


def test_an_image_that_a_pattern_names_is_allowed() -> None:
    assert reason() == ALLOWED


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], "ImageNotAllowed"),
        (["*"], ALLOWED),
        ([IMAGE], ALLOWED),
        (["registry.example.org/acme/*"], ALLOWED),
        (["*@sha256:*"], ALLOWED),
        (["registry.example.org/acme/ct"], "ImageNotAllowed"),
        (["REGISTRY.example.org/*"], "ImageNotAllowed"),
        (["acme/*", "registry.example.org/*"], ALLOWED),
    ],
)
def test_images(patterns: list[str], expected: str) -> None:
    assert reason({"images": patterns}) == expected


def test_without_a_policy_nothing_runs() -> None:
    assert reason(site={"policy": {}}) == "ImageNotAllowed"


def test_by_default_what_the_policy_allows_is_asked_for() -> None:
    assert reason(site={"policy": {"images": ["*"]}}) == "ApprovalPending"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"clients": ["ct.*"]}, ALLOWED),
        ({"clients": ["other.*"]}, "ClientNotAllowed"),
        ({"namespaces": ["default", "team-*"]}, ALLOWED),
        ({"namespaces": ["team-*"]}, "NamespaceNotAllowed"),
        ({"jobs": ["digits"]}, ALLOWED),
        ({"jobs": ["ct-*"]}, "JobNotAllowed"),
        ({"jobs": []}, "JobNotAllowed"),
    ],
)
def test_clients_namespaces_and_jobs(policy: dict[str, Any], expected: str) -> None:
    assert reason(policy) == expected


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, ALLOWED),
        ({"jobs": ["digits"], "namespaces": ["default"]}, ALLOWED),
        ({"jobs": ["ct"]}, "DatasetNotAllowed"),
        ({"namespaces": ["team"]}, "DatasetNotAllowed"),
    ],
)
def test_datasets(dataset: dict[str, Any], expected: str) -> None:
    assert reason(site={"datasets": {"named": dataset}}) == expected


def test_a_dataset_that_the_silo_does_not_have() -> None:
    assert reason(dataset="elsewhere") == "UnknownDataset"


def test_a_client_of_another_silo() -> None:
    assert reason(silo="hospital-b") == "OtherSilo"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ALLOWED),
        ({"limits": {"cpu": "4", "memory": "8Gi"}}, ALLOWED),
        ({"limits": {"cpu": "4000m"}}, ALLOWED),
        ({"limits": {"cpu": "4001m"}}, "OverCeiling"),
        ({"requests": {"memory": "9Gi"}}, "OverCeiling"),
        ({"limits": {"memory": "8589934592"}}, ALLOWED),
        ({"limits": {"memory": "8589934593"}}, "OverCeiling"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "OverCeiling"),
        ({"limits": {"ephemeral-storage": "1Ti"}}, ALLOWED),
        ({"limits": {"cpu": "1e99"}}, "InvalidSpec"),
    ],
)
def test_ceilings(asked: dict[str, Any], expected: str) -> None:
    pods = {"ceilings": {"cpu": 4, "memory": "8Gi", "nvidia.com/gpu": 0}}
    assert reason(site={"pods": pods}, resources=asked) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (IMAGE, ALLOWED),
        ("registry.example.org/acme/ct:1", "ImageNotPinned"),
        ("registry.example.org/acme/ct", "ImageNotPinned"),
    ],
)
def test_a_tag_is_no_image_unless_the_policy_says_so(image: str, expected: str) -> None:
    app = {"image": image, "client": "ct.client:app"}
    assert reason(site={"policy": {"images": ["*"], **UNASKED}}, app=app) == expected
    assert reason({"requireDigest": False}, app=app) == ALLOWED


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"maxSeconds": 86_400}, ALLOWED),
        ({"maxSeconds": 86_399}, "TooLong"),
        ({"privacy": {"minCohort": 3, "minExamples": 11}}, ALLOWED),
        ({"privacy": {"minCohort": 4}}, "PrivacyTooWeak"),
        ({"privacy": {"minExamples": 12}}, "PrivacyTooWeak"),
    ],
)
def test_what_a_job_must_declare(policy: dict[str, Any], expected: str) -> None:
    assert reason(policy) == expected


def test_the_hub_hears_a_reason_and_nothing_that_the_site_file_says() -> None:
    policy = {**UNASKED, "images": ["secret.example.org/*"], "clients": ["hidden.*"]}
    for name in ("elsewhere", "named"):
        decision = decide(client(dataset=name), site_file(policy=policy), {})
        assert decision.message == WORDS[decision.reason]
    ceilings = {"pods": {"ceilings": {"memory": "7Gi"}}}
    over = decide(client(resources={"limits": {"memory": "9Gi"}}), site_file(**ceilings), {})
    assert "7Gi" in over.detail
    assert "7Gi" not in over.message


@given(st.from_regex(r"[ab]{1,2}([/.:][ab]{1,2}){0,3}", fullmatch=True))
def test_only_a_star_that_is_written_out_allows_everything(image: str) -> None:
    spec = {"app": {"image": image, "client": "ct.client:app"}}
    assert reason({"images": ["a"]}, **spec) == (ALLOWED if image == "a" else "ImageNotAllowed")
    assert reason({"images": ["*"]}, **spec) == ALLOWED
